package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/cmd/internal/manual"
)

// notFollowed are the commands of docs/operate.md that the demo does not execute. Tests
// do, with a Docker that only records its calls (TestEveryCommandOfTheManualIsExecuted).
var notFollowed = map[string]string{
	"appliance doctor --quiet --strict": "warnings are failures then, and there are some: this world has no registries and no collector",
	"appliance service status":          "the demo installs no units",
	"appliance service install":         "the demo installs no units",
	"appliance queue drop ITEM":         "there is no dead letter",
	"appliance logs --follow":           "it does not end",
	"appliance config set rocketchat_settings.Accounts_RegistrationForm=Disabled":                               "it restarts Rocket.Chat",
	"appliance config set rocketchat_settings.Accounts_RegistrationForm=":                                       "it restarts Rocket.Chat",
	"appliance config set smtp_host=smtp.example.org smtp_username=chat smtp_password_file=/etc/appliance-smtp": "there is no mail server",
	"appliance config set rocketchat_registration_token_file=/etc/appliance-registration":                       "there is no token, and it restarts Rocket.Chat",
	"appliance down": "the other steps stop and start everything",
}

// checkDocuments follows docs/operate.md on the running installation, and undoes its changes.
func (d inspection) checkDocuments(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(d.dir), "docs/operate.md"))
	if err != nil {
		return err
	}
	answers, err := os.ReadFile(d.path("install/appliance.yaml"))
	if err != nil {
		return err
	}
	live, err := os.ReadFile(d.path("install/config/bridge/bridge.yaml"))
	if err != nil {
		return err
	}
	executed, skipped := 0, 0
	place := strings.NewReplacer(" /root/", " "+d.dir+"/", "'", "")
	if err := removeFiles(d.path("support.tar.gz")); err != nil {
		return err
	}
	for _, line := range manual.Commands(string(text)) {
		if notFollowed[line] != "" {
			skipped++
			continue
		}
		args := strings.Fields(place.Replace(line))[1:]
		if slices.Contains([]string{"up", "config set"}, strings.Join(args[:min(2, len(args))], " ")) {
			args = append(args, "--yes") // there is no terminal
		}
		if _, err := d.command(ctx, d.program, append(args, "--dir", d.install())...); err != nil {
			return fmt.Errorf("docs/operate.md: %w", err)
		}
		executed++
	}
	if skipped != len(notFollowed) || executed < 15 {
		return fmt.Errorf("docs/operate.md: %d commands executed, %d left out of %d that are listed", executed, skipped, len(notFollowed))
	}
	if err := removeFiles(d.path("support.tar.gz")); err != nil {
		return err
	}
	if err := os.WriteFile(d.path("install/config/bridge/bridge.yaml"), live, 0o600); err != nil { // in place, as most editors do
		return err
	}
	for line := range strings.Lines(string(answers)) {
		if email, ok := strings.CutPrefix(line, "email:"); ok {
			if _, err := d.command(ctx, d.program, "config", "set", "email="+strings.Trim(strings.TrimSpace(email), `"`), "--yes", "--dir", d.install()); err != nil {
				return err
			}
		}
	}
	d.say("ok    docs/operate.md: %d commands executed", executed)
	return nil
}
