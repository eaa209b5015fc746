package cli

import (
	"fmt"
	"strconv"

	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision"
	"appliance/provision/answers"
	"appliance/provision/stack"
)

// askSystemd asks once, after the other questions, whether systemd should look after the
// installation. On a host without it there is nothing to ask.
func askSystemd(a *app, draft *answers.Draft) error {
	field, _ := answers.Lookup("systemd")
	if draft.Said(field.Key) || !stack.Systemd() {
		return nil
	}
	tty := a.terminal()
	if tty == nil {
		return nil
	}
	defer func() { _ = tty.Close() }()
	yes, err := wizard.Propose(tty, field.Ask, field.Help)
	if err != nil {
		return interrupted(a)
	}
	draft.Set(field.Key, strconv.FormatBool(yes), answers.Asked)
	_ = draft.Keep(string(keptDraft(a)))
	return nil
}

// lookedAfter says who looks after what up has started, and what its owner has to do.
func lookedAfter(a *app, r provision.Report) {
	if r.Changed && r.NoSystemd {
		fmt.Fprint(a.env.Stderr, a.exact("\nThis host does not run systemd: nothing makes backups, renews certificates or sends alarms.\n"+
			"To have this done, let a supervisor run: appliance service run\n"))
	}
	if r.BackupKey != nil {
		newKey(a, *r.BackupKey)
	}
}
