package provision

import (
	"context"
	"fmt"
	"time"

	"appliance/provision/answers"
	"appliance/provision/archive"
	"appliance/provision/attach"
	"appliance/provision/certs"
	"appliance/provision/checkup"
	"appliance/provision/finding"
	"appliance/provision/secrets"
	"appliance/provision/stack"
)

// A Report is the outcome for the operator.
type Report struct {
	Changed    bool                `json:"changed"` // false: there was nothing to do
	ChatURL    string              `json:"chat_url"`
	ServerName string              `json:"server_name"`
	Dir        string              `json:"dir"`
	Admin      Admin               `json:"admin"`
	CAFile     string              `json:"ca_file,omitempty"` // what browsers have to trust with tls: internal
	Try        []string            `json:"try"`
	Attach     []attach.Attachment `json:"attach,omitempty"`     // what to add to external servers
	Findings   []finding.Finding   `json:"findings,omitempty"`   // of the doctor
	BackupKey  *archive.KeyInfo    `json:"backup_key,omitempty"` // just made: a copy must leave the host
	NoSystemd  bool                `json:"no_systemd,omitempty"` // nothing starts at boot, makes backups or sends alarms
}

// Admin is the administrator, and the file that holds the password.
type Admin struct {
	Username     string `json:"username"`
	PasswordFile string `json:"password_file"`
}

// Report examines the finished installation. If it was just changed, it has up to patience to
// become healthy.
func (p *Prepared) Report(ctx context.Context, changed bool, patience time.Duration) Report {
	a := p.opts.Answers
	r := Report{
		Changed: changed, ChatURL: a.ChatURL(), ServerName: a.ServerName, Dir: p.opts.Dir,
		Admin: Admin{Username: a.AdminUsername, PasswordFile: secrets.Path(p.opts.Dir, secrets.AdminPassword)},
		Try: []string{
			fmt.Sprintf("open %s and sign in as %s", a.ChatURL(), a.AdminUsername),
			"create a room and type in it: /bridge invite @bob:matrix.org",
			fmt.Sprintf("invite @%s%s:%s from any Matrix client", a.LocalpartPrefix(), a.AdminUsername, a.ServerName),
		},
	}
	r.BackupKey, r.NoSystemd = p.key, a.Systemd && !stack.Systemd()
	if !a.BundledRocketChat() {
		r.Admin = Admin{}
		r.Try = []string{fmt.Sprintf("open %s, create a room and type in it: /bridge invite @bob:matrix.org", a.ChatURL())}
	}
	if changed {
		r.Attach, _ = attach.Attachments(p.opts.Dir, a) // just written
	}
	if changed && a.ServerName != a.Domain && a.Delegation == answers.DelegationElsewhere {
		r.Attach = append(r.Attach, attach.Attachment{Text: fmt.Sprintf("The web server of %s has to answer https://%s/.well-known/matrix/server with:\n\n    %s\n\n"+
			"The type is application/json. appliance doctor checks it; see docs/proxy.md for each web server.\n", a.ServerName, a.ServerName, a.WellKnown())})
	}
	if a.TLS == answers.Internal {
		r.CAFile = certs.InternalCA(p.site.CertsDir())
	}
	if !changed {
		patience = 0
	}
	r.Findings = checkup.Await(ctx, p.site, patience)
	return r
}
