package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"appliance/provision/finding"
)

// A backlog is the bridge's report about itself and its queue.
type backlog struct {
	Enabled     bool
	Waiting     int64
	Dead        int64     `json:"dead_letters"`
	OldDead     int64     `json:"buried"` // from a bridge of an earlier release
	Oldest      time.Time `json:"oldest_waiting"`
	ConfigError string    `json:"config_error"`
	Doubtful    []string  `json:"doubtful_puppets"`
	Replicas    int       // 0 from a bridge of an earlier release
}

// backlogOf queries the bridge. bad says why it did not answer.
func backlogOf(ctx context.Context, t Target) (b backlog, bad *finding.Finding) {
	failed := func(f finding.Finding) (backlog, *finding.Finding) { return b, &f }
	services, err := t.Services(ctx)
	if err != nil || services["bridge"].Address == "" {
		return failed(finding.Failure("the bridge does not report its queue", "it is not running", "run: appliance up").Without("bridge"))
	}
	token, err := t.Operator()
	if err != nil {
		return failed(finding.Failure("the bridge does not report its queue", "its operator token cannot be read: "+err.Error(), "run as root, or recreate missing files with: appliance up"))
	}
	status, body, err := fetch(ctx, &http.Client{Timeout: limit}, "http://"+net.JoinHostPort(services["bridge"].Address, "29328")+"/status", "Authorization", "Bearer "+token.Reveal())
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &b) != nil {
		return failed(finding.Failure("the bridge does not report its queue", outcome(status, err), "see: appliance logs bridge").Without("bridge"))
	}
	return b, nil
}

// enabled checks whether messages are forwarded. While the bridge cannot be queried,
// bridge.yaml counts.
func enabled(ctx context.Context, t Target) finding.Finding {
	b, bad := backlogOf(ctx, t)
	off := "federation is off"
	switch {
	case bad == nil && !b.Enabled:
		off += ", " + finding.Counted(b.Waiting, "item waits", "items wait")
	case bad == nil, t.Federation() != "off":
		return finding.Good("federation is not switched off")
	}
	return finding.Warning(off, "messages are held back in both directions", "switch it on with: appliance federation enable")
}

// queue looks at the backlog of the bridge and its dead letters.
func (t Target) queue(ctx context.Context) finding.Finding {
	s, bad := backlogOf(ctx, t)
	if bad != nil {
		return *bad
	}
	lag := time.Duration(0)
	if s.Waiting > 0 && !s.Oldest.IsZero() {
		lag = t.Now().Sub(s.Oldest)
	}
	switch {
	case len(s.Doubtful) > 0:
		return finding.Failure(fmt.Sprintf("the bridge did not create the account of %s", strings.Join(s.Doubtful, ", ")),
			"it lacks the role bot, so it may belong to a person who reads what is meant for the Matrix user",
			"open Administration > Users in Rocket.Chat: deactivate the account if a person signs in with it, otherwise give it the role bot")
	case s.ConfigError != "":
		return finding.Warning("the bridge keeps its old configuration", s.ConfigError, "fix config/bridge/bridge.yaml; the bridge reloads it when it is saved")
	case !s.Enabled:
		return finding.Good("%s until federation is switched on", finding.Counted(s.Waiting, "item waits", "items wait"))
	case lag > 10*time.Minute:
		return finding.Warning(fmt.Sprintf("%s, the oldest for %s", finding.Counted(s.Waiting, "item waits", "items wait"), lag.Round(time.Minute)), "the receiving server rejects them, or a remote server is down", "see: appliance logs bridge")
	case s.Replicas > 0 && s.Replicas < t.Answers.BridgeReplicas:
		return finding.Warning(fmt.Sprintf("%d of %d bridge processes run", s.Replicas, t.Answers.BridgeReplicas), "the others do its work meanwhile", "start what is missing with: appliance up; see why it ended with: appliance logs bridge")
	case max(s.Dead, s.OldDead) > 0:
		return finding.Warning(finding.Counted(max(s.Dead, s.OldDead), "dead letter", "dead letters"), "the bridge could not deliver these items, gave up and told their rooms", "see the reasons with: appliance queue dead; retry with: appliance queue retry --all")
	}
	return finding.Good("the queue is short and there are no dead letters")
}
