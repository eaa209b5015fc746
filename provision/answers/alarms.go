package answers

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Ways to send an alarm.
const (
	ByRocketChat = "rocketchat"
	ByWebhook    = "webhook"
	ByMail       = "mail"
)

// AlarmAnswers are the answers about how an operator is told that something is wrong.
type AlarmAnswers struct {
	Alarms            string `yaml:"alarms"`
	AlarmWebhook      string `yaml:"alarm_webhook"`
	AlarmWebhookFile  string `yaml:"alarm_webhook_file"`
	AlarmMailURL      string `yaml:"alarm_mail_url"`
	AlarmMailPassword string `yaml:"alarm_mail_password_file"`
	AlarmMailFrom     string `yaml:"alarm_mail_from"`
	AlarmMailTo       string `yaml:"alarm_mail_to"`
	Releases          string `yaml:"releases"`
}

var webhookFormats = []string{"json", "ntfy", "slack", "matrix"}

var alarmFields = []Field{
	defaultYes(boolean("systemd", func(a *Answers) *bool { return &a.Systemd }, Field{
		Ask: "Should systemd start it at boot, back it up every night and send alarms?", Advanced: true, // asked where there is a systemd
		Help: "Where the host runs systemd, up installs the units that are missing. false: install them yourself, see appliance service, or run appliance service run.",
	})),
	text("alarms", func(a *Answers) *string { return &a.Alarms }, Field{
		Ask: "How should alarms be sent?", Default: ByRocketChat, Advanced: true, Check: checkAlarms,
		Help: "One or more of rocketchat, webhook and mail, separated by commas: an alarm is sent by the first one that works. Empty means rocketchat. Try them with: appliance alarm test",
	}),
	choice("alarm_webhook", func(a *Answers) *string { return &a.AlarmWebhook }, "json", webhookFormats, Field{
		Ask: "Which format does the alarm webhook expect?", Advanced: true,
		Help: "json: the whole message. ntfy: ntfy.sh and its like. slack: Slack, Mattermost and others that take its webhooks. matrix: a room on another Matrix server. Only with alarms: webhook.",
	}),
	text("alarm_webhook_file", func(a *Answers) *string { return &a.AlarmWebhookFile }, Field{
		Ask: "Which file holds the URL of the webhook?", Advanced: true, Check: optional(checkAbsolute),
		Help: "The URL in the first line and, where the service asks for one, an access token in the second; mode 0600. For matrix the URL is such as https://matrix.example.org/!room:example.org.",
	}),
	text("alarm_mail_url", func(a *Answers) *string { return &a.AlarmMailURL }, Field{
		Ask: "Which mail server sends alarms?", Advanced: true, Check: optional(checkMailURL),
		Help: "smtp://user@smtp.example.org (STARTTLS), smtps://user@smtp.example.org (TLS), or smtp+plain://127.0.0.1 for a relay on this host. Only with alarms: mail.",
	}),
	text("alarm_mail_password_file", func(a *Answers) *string { return &a.AlarmMailPassword }, Field{
		Ask: "Which file holds the password for that mail server?", Advanced: true, Check: optional(checkAbsolute),
		Help: "The password in the first line, mode 0600. Needed if alarm_mail_url has a user.",
	}),
	text("alarm_mail_from", func(a *Answers) *string { return &a.AlarmMailFrom }, Field{
		Ask: "From which address do alarms come?", Advanced: true, Check: optional(checkEmail),
		Help: "The sender of the mails. Empty means appliance at domain.",
	}),
	text("alarm_mail_to", func(a *Answers) *string { return &a.AlarmMailTo }, Field{
		Ask: "To which address do alarms go?", Advanced: true, Check: optional(checkEmail),
		Help: "The recipient of the mails. Only with alarms: mail.",
	}),
	text("releases", func(a *Answers) *string { return &a.Releases }, Field{
		Ask: "Where is the newest release of this program to be found?", Advanced: true, Check: optional(checkReleases),
		Help: "The https address of the directory that always holds it, such as https://releases.example.org/appliance/latest. The doctor looks there for a newer one, whose signature it verifies, and the console shows it. Empty means no check for new releases.",
	}),
}

// defaultYes makes true the default.
func defaultYes(f Field) Field { f.Default = "true"; return f }

// AlarmWays returns the ways in which alarms are sent, in order.
func (a Answers) AlarmWays() []string {
	var out []string
	for way := range strings.SplitSeq(a.Alarms, ",") {
		if way = strings.TrimSpace(way); way != "" {
			out = append(out, way)
		}
	}
	if len(out) == 0 {
		return []string{ByRocketChat}
	}
	return out
}

func checkAlarms(s string) error {
	seen := map[string]bool{}
	for _, way := range (Answers{AlarmAnswers: AlarmAnswers{Alarms: s}}).AlarmWays() {
		if !slices.Contains([]string{ByRocketChat, ByWebhook, ByMail}, way) {
			return fmt.Errorf("must be one or more of rocketchat, webhook and mail, separated by commas")
		}
		if seen[way] {
			return fmt.Errorf("has %s twice", way)
		}
		seen[way] = true
	}
	return nil
}

func checkReleases(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("must be the https address of a directory, such as https://releases.example.org/appliance/latest")
	}
	return nil
}

func checkMailURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"smtp", "smtps", "smtp+plain"}, u.Scheme) || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("must look like smtp://user@smtp.example.org, smtps://user@smtp.example.org:465 or smtp+plain://127.0.0.1")
	}
	if _, has := u.User.Password(); has {
		return fmt.Errorf("must not have a password: put it into a file and name that as alarm_mail_password_file")
	}
	return nil
}

// consistent checks that the chosen ways have the answers they need.
func (a AlarmAnswers) consistent(ways []string) []Problem {
	var problems []Problem
	need := func(way, key, value string) {
		if slices.Contains(ways, way) && value == "" {
			problems = append(problems, Problem{Key: key, Reason: "is required with alarms: " + way})
		}
	}
	need(ByWebhook, "alarm_webhook_file", a.AlarmWebhookFile)
	need(ByMail, "alarm_mail_url", a.AlarmMailURL)
	need(ByMail, "alarm_mail_to", a.AlarmMailTo)
	if u, err := url.Parse(a.AlarmMailURL); err == nil && u.User.Username() != "" && a.AlarmMailPassword == "" {
		problems = append(problems, Problem{Key: "alarm_mail_password_file", Reason: "is required: alarm_mail_url has a user"})
	}
	return problems
}
