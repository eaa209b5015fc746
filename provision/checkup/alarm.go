package checkup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"appliance/bridge/secret"
	"appliance/provision/alarm"
	"appliance/provision/answers"
	"appliance/provision/bootstrap"
	"appliance/provision/finding"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/secrets"
	"appliance/provision/site"
)

// At most mostAlarms are sent within alarmPeriod: a problem that comes and goes has been
// reported often enough by then. The next one after that reports the current state.
const (
	mostAlarms  = 6
	alarmPeriod = 24 * time.Hour
)

// A notice is one finding that was reported to the administrator. Its text may change from day
// to day without being news.
type notice struct {
	Check    string `json:"check"`
	Severity string `json:"severity"`
}

// told is the record of the alarms that were sent.
type told struct {
	Notices []notice    `json:"notices"`
	Sent    []time.Time `json:"sent"` // the latest ones
}

// Alarm notifies the operator of the findings by the first configured way that works, if they
// have changed since the last time. It reports whether a message was sent; one that failed is
// sent the next time, and so is one beyond the limit.
func Alarm(ctx context.Context, s *site.Site, findings []finding.Finding) (sent bool, err error) {
	return alarmAt(ctx, s, findings, time.Now())
}

func alarmAt(ctx context.Context, s *site.Site, findings []finding.Finding, now time.Time) (sent bool, err error) {
	news := []notice{}
	for _, f := range findings {
		if f.Severity > finding.OK {
			news = append(news, notice{f.Check, f.Severity.String()})
		}
	}
	was := lastTold(s)
	if slices.Equal(sorted(news), sorted(was.Notices)) {
		return false, nil
	}
	return tell(ctx, s, findings, news, was, now)
}

func sorted(list []notice) []notice {
	return slices.SortedFunc(slices.Values(list), func(a, b notice) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Severity, b.Severity))
	})
}

// tell sends a message about findings, unless there were too many lately, and records what the
// operator then knows.
func tell(ctx context.Context, s *site.Site, findings []finding.Finding, news []notice, was told, now time.Time) (sent bool, err error) {
	was.Sent = slices.DeleteFunc(was.Sent, func(t time.Time) bool { return now.Sub(t) >= alarmPeriod || t.After(now) })
	if len(was.Sent) >= mostAlarms {
		return false, nil
	}
	m := alarmMessage(s.Answers.ServerName, findings, now)
	if len(was.Sent) == mostAlarms-1 {
		m.Text += fmt.Sprintf("\n\nThis is message %d within a day. The next one comes after %s.", mostAlarms, was.Sent[0].Add(alarmPeriod).UTC().Format("2006-01-02 15:04 UTC"))
	}
	if _, err := alarm.Send(ctx, Ways(s), m); err != nil {
		return false, err
	}
	data, err := json.Marshal(told{Notices: news, Sent: append(was.Sent, now)})
	if err != nil {
		return true, err
	}
	return true, atomicfile.Write(s.Path(site.AlarmFile), data, 0o600)
}

// lastTold reads the record of what was reported last, also from a file of an earlier release,
// which is only a list of notices.
func lastTold(s *site.Site) (t told) {
	data, _ := os.ReadFile(s.Path(site.AlarmFile)) // what cannot be read is reported again
	if json.Unmarshal(data, &t) != nil {
		_ = json.Unmarshal(data, &t.Notices)
	}
	return t
}

// AlarmTest sends a message by every way, and returns the result of each in the order of
// AlarmWays.
func AlarmTest(ctx context.Context, s *site.Site) []error {
	m := alarm.Message{
		Server: s.Answers.ServerName, Severity: finding.OK.String(), Title: s.Answers.ServerName + ": a test of the alarm",
		Text: "This is how " + s.Answers.ServerName + " says that something is wrong. Nothing is.", Time: time.Now().UTC(),
	}
	var out []error
	for _, way := range Ways(s) {
		out = append(out, alarm.Try(ctx, way, m))
	}
	return out
}

// Ways returns the alarm ways in the answers, in their order.
func Ways(s *site.Site) []alarm.Way {
	var out []alarm.Way
	a := s.Answers
	for _, name := range a.AlarmWays() {
		switch name {
		case answers.ByWebhook:
			out = append(out, alarm.Webhook{Format: a.AlarmWebhook, File: a.AlarmWebhookFile})
		case answers.ByMail:
			from := a.AlarmMailFrom
			if from == "" {
				from = "appliance@" + a.Domain
			}
			out = append(out, alarm.Mail{URL: a.AlarmMailURL, PasswordFile: a.AlarmMailPassword, From: from, To: a.AlarmMailTo})
		default:
			out = append(out, directMessage{s})
		}
	}
	return out
}

// A directMessage notifies the administrator in Rocket.Chat, from the bridge's account.
type directMessage struct{ site *site.Site }

func (directMessage) Name() string { return answers.ByRocketChat }

func (d directMessage) Send(ctx context.Context, m alarm.Message) error {
	base, accounts, err := chat(ctx, d.site)
	if err != nil {
		return err
	}
	return bootstrap.Tell(ctx, base, accounts, "*"+m.Title+"*\n\n"+m.Text)
}

func alarmMessage(name string, findings []finding.Finding, now time.Time) alarm.Message {
	worst := finding.Worst(findings)
	var lines []string
	var bad []finding.Finding
	for _, f := range findings {
		if f.Severity > finding.OK {
			bad = append(bad, f)
			lines = append(lines, fmt.Sprintf("%s %s: %s\nwhy: %s\nwhat to do: %s", f.Severity, f.Check, f.Summary, f.Why, f.Fix))
		}
	}
	m := alarm.Message{Server: name, Severity: worst.String(), Title: name + ": the doctor has found something", Text: strings.Join(lines, "\n\n"), Time: now.UTC()}
	if len(bad) == 0 {
		m.Title, m.Text = name+": all is well again", "The doctor of "+name+" finds nothing wrong any more."
		return m
	}
	if len(bad) == 1 {
		m.Title = name + ": " + bad[0].Summary
	}
	m.Details = bad
	return m
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
