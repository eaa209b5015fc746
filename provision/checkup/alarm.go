package checkup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"appliance/bridge/secret"
	"appliance/provision/bootstrap"
	"appliance/provision/finding"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/secrets"
	"appliance/provision/site"
)

// A notice is one finding that the administrator was told of. Its text may change
// from day to day without being news.
type notice struct {
	Check    string `json:"check"`
	Severity string `json:"severity"`
}

// Alarm notifies the administrator of the findings by a direct message from the
// bridge's account, if they have changed since the last one. It reports whether a
// message was sent; one that failed is sent the next time.
func Alarm(ctx context.Context, s *site.Site, findings []finding.Finding) (sent bool, err error) {
	now := []notice{}
	for _, f := range findings {
		if f.Severity > finding.OK {
			now = append(now, notice{f.Check, f.Severity.String()})
		}
	}
	was := []byte("[]")
	if data, err := os.ReadFile(s.Path(site.AlarmFile)); err == nil {
		was = data
	}
	data, err := json.Marshal(now)
	if err != nil || string(data) == strings.TrimSpace(string(was)) {
		return false, err
	}
	base, accounts, err := chat(ctx, s)
	if err == nil {
		err = bootstrap.Tell(ctx, base, accounts, alarmText(s.Answers.ServerName, findings))
	}
	if err != nil {
		return false, fmt.Errorf("notify the administrator: %w", err)
	}
	return true, atomicfile.Write(s.Path(site.AlarmFile), data, 0o600)
}

func alarmText(name string, findings []finding.Finding) string {
	var lines []string
	for _, f := range findings {
		if f.Severity > finding.OK {
			lines = append(lines, fmt.Sprintf("*%s* `%s` %s\nwhy: %s\nwhat to do: %s", f.Severity, f.Check, f.Summary, f.Why, f.Fix))
		}
	}
	if len(lines) == 0 {
		return "The doctor of " + name + " finds nothing wrong any more."
	}
	return "The doctor of " + name + " has found:\n\n" + strings.Join(lines, "\n\n")
}

// chat returns Rocket.Chat's address and the accounts to use.
func chat(ctx context.Context, s *site.Site) (base string, a bootstrap.Accounts, err error) {
	if !s.Answers.BundledRocketChat() {
		token, err := os.ReadFile(s.Answers.RocketChatTokenFile)
		return s.Answers.RocketChatURL, bootstrap.Accounts{
			BridgeUserID: s.Answers.RocketChatUserID, BridgeToken: secret.New(strings.TrimSpace(string(token))), AdminName: s.Answers.AdminUsername,
		}, err
	}
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return "", a, err
	}
	if services["rocketchat"].Address == "" {
		return "", a, errors.New("Rocket.Chat is not running") //nolint:staticcheck // a name
	}
	set, _, err := secrets.Prepare(s.Dir)
	return site.RocketChatURL(services["rocketchat"]), bootstrap.AccountsOf(s.Answers, set), err
}
