package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"appliance/provision/finding"
)

// Chores that may fail unattended, named after the checks that report them.
const (
	ChoreBackup  = "backup"
	ChoreOffsite = "offsite"
	ChoreDrill   = "drill"
)

// A ChoreFailure is how the last run of a chore failed.
type ChoreFailure struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Hint   string    `json:"hint,omitempty"`
}

// Failed returns the finding about a chore whose last run failed.
func Failed(chore string, c ChoreFailure) finding.Finding {
	on := " on " + c.At.Format("2006-01-02 15:04 UTC")
	summary, again := "the backup"+on+" failed", "appliance backup"
	switch chore {
	case ChoreOffsite:
		summary = "the backup" + on + " was not sent off-site"
	case ChoreDrill:
		summary, again = "the restore drill"+on+" failed", "appliance backup drill"
	}
	fix := "try again with: " + again
	if c.Hint != "" {
		fix = c.Hint + "; then " + fix
	}
	f := finding.Warning(summary, c.Reason, fix)
	f.Check = chore
	return f
}

// chore returns the check of one chore.
func chore(t Target, name, good string) finding.Check {
	return finding.Check{Name: name, Run: func(context.Context) finding.Finding {
		if c, failed := t.Chores()[name]; failed {
			return Failed(name, c)
		}
		return finding.Good("%s", good)
	}}
}

// Units describes the systemd units of an installation.
type Units struct {
	Lacking string   // why units have to be installed; "" if they exist or are not wanted
	Idle    []string // timers that are disabled or stopped
	Failed  []string // services whose last run failed
	Nightly bool     // a timer makes backups
}

// timers checks what runs unattended: the boot, backups, renewals, the doctor and its alarms.
func timers(ctx context.Context, t Target) finding.Finding {
	u := t.Units(ctx)
	told := t.Chores()
	u.Failed = slices.DeleteFunc(u.Failed, func(unit string) bool { // the doctor's exit status reflects its findings
		return strings.HasSuffix(unit, "-doctor.service") || (strings.HasSuffix(unit, "-backup.service") || strings.HasSuffix(unit, "-drill.service")) && len(told) > 0
	})
	switch {
	case u.Lacking != "":
		return finding.Warning(u.Lacking, "systemd neither starts the installation at boot nor makes backups, renews certificates and sends alarms without its units",
			"install them with: appliance up; or do without them: appliance config set systemd=false")
	case len(u.Idle) > 0:
		return finding.Warning(joined(u.Idle)+" "+isOrAre(len(u.Idle))+" not active", "scheduled jobs do not run", "start it with: systemctl enable --now "+strings.Join(u.Idle, " "))
	case len(u.Failed) > 0:
		return finding.Warning("the last run of "+joined(u.Failed)+" failed", "systemd has noted it", "see why with: journalctl -n 50 -u "+strings.Join(u.Failed, " -u "))
	}
	return finding.Good("nothing that systemd should run is missing")
}
