package cli

import (
	"fmt"

	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision"
	"appliance/provision/answers"
)

// askSwap asks once, where there is a terminal and little memory, whether the host should
// get a swap file. Without a terminal only the answer counts.
func askSwap(a *app, draft *answers.Draft) error {
	if draft.SwapFile != answers.SwapAsk {
		return nil
	}
	offer, wanted := provision.SwapOffer(a.dir)
	tty := a.terminal()
	if tty == nil || !wanted {
		return nil
	}
	defer func() { _ = tty.Close() }()
	fmt.Fprintf(tty, "\nThis host has %s; all services together come close to that. A swap file of 2 GB helps:\n", offer.Why)
	for _, command := range offer.Commands {
		fmt.Fprintf(tty, "    %s\n", command)
	}
	field, _ := answers.Lookup("swap_file")
	yes, err := wizard.Propose(tty, "Should that be run?", field.Help)
	if err != nil {
		return interrupted(a)
	}
	draft.Set(field.Key, map[bool]string{true: answers.SwapYes, false: answers.SwapNo}[yes], answers.Asked)
	_ = draft.Keep(string(keptDraft(a)))
	return nil
}
