package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"appliance/provision/finding"
)

// remaining is the setting in which Rocket.Chat 7 and later report how many days are left until
// the workspace becomes read-only: -1 if it does not, 0 if it is.
const remaining = "Cloud_Workspace_AirGapped_Restrictions_Remaining_Days"

// workspace checks whether Rocket.Chat is read-only, or about to be. Without a licence it is
// once its last report to its maker's collector is about ten days old, and then it refuses
// every message.
func workspace(ctx context.Context, t Target) finding.Finding {
	status, body, err := get(ctx, t, t.Answers.Domain, "/api/v1/settings.public?_id="+remaining)
	var answer struct {
		Settings []struct {
			ID    string `json:"_id"`
			Value int    `json:"value"`
		} `json:"settings"`
	}
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return finding.Good("Rocket.Chat does not say whether it will be read-only") // another check says that it does not answer
	}
	const why = "without a licence it has to report to collector.rocket.chat at least every ten days, and has not"
	const fix = "allow connections to collector.rocket.chat:443 and restart Rocket.Chat with: docker restart "
	for _, s := range answer.Settings {
		switch {
		case s.ID != remaining || s.Value < 0 || s.Value > 9:
		case s.Value == 0:
			return finding.Failure("Rocket.Chat is read-only: it refuses every message", why, fix+container(ctx, t, "rocketchat")+"; in a closed network it needs a licence, see docs/troubleshooting.md")
		default:
			on := t.Now().AddDate(0, 0, s.Value).Format(time.DateOnly)
			return finding.Warning(fmt.Sprintf("Rocket.Chat becomes read-only on %s, in %d %s", on, s.Value, days(s.Value)), why,
				fix+container(ctx, t, "rocketchat")+"; in a closed network it needs a licence, see docs/troubleshooting.md")
		}
	}
	return finding.Good("Rocket.Chat is not about to become read-only")
}

// registration checks whether the workspace is registered with Rocket.Chat's cloud. That is the
// operator's decision, but a token that has registered nothing is a fault.
func registration(ctx context.Context, t Target) finding.Finding {
	var answer struct {
		Status struct {
			Registered *bool `json:"workspaceRegistered"`
		} `json:"registrationStatus"`
	}
	id, token, err := t.Account()
	if err == nil {
		var status int
		var body []byte
		status, body, err = get(ctx, t, t.Answers.Domain, "/api/v1/cloud.registrationStatus", "X-User-Id", id, "X-Auth-Token", token.Reveal())
		if err == nil && (status != http.StatusOK || json.Unmarshal(body, &answer) != nil) {
			answer.Status.Registered = nil
		}
	}
	switch file := t.Answers.RegistrationTokenFile; {
	case err != nil || answer.Status.Registered == nil:
		return finding.Good("Rocket.Chat does not say whether the workspace is registered") // another check says why
	case *answer.Status.Registered:
		return finding.Good("the workspace is registered with Rocket.Chat's cloud")
	case file != "":
		return finding.Warning("the workspace is not registered, although there is a token for that",
			"Rocket.Chat takes the token when it starts, and the cloud refuses one that was used or is too old; until then no phone is notified",
			"get a new token at https://cloud.rocket.chat, write it to "+file+" and run: appliance up")
	}
	return finding.Good("the workspace is not registered with Rocket.Chat's cloud, so phones are not notified; see: appliance config get rocketchat_registration_token_file")
}

func days(n int) string {
	if n == 1 {
		return "day"
	}
	return "days"
}

// container returns what docker calls a service's container.
func container(ctx context.Context, t Target, service string) string {
	if have, err := t.Services(ctx); err == nil && have[service].ID != "" {
		return have[service].ID[:min(len(have[service].ID), 12)]
	}
	return service
}
