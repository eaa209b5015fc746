package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision"
	"appliance/provision/answers"
	"appliance/provision/site"
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
	fmt.Fprintf(tty, "\nThis host has %s; all services together need nearly that much. A swap file of 2 GB helps:\n", offer.Why)
	for _, command := range offer.Commands {
		fmt.Fprintf(tty, "    %s\n", command)
	}
	field, _ := answers.Lookup("swap_file")
	yes, err := wizard.Propose(tty, "Run this now?", field.Help)
	if err != nil {
		return interrupted(a)
	}
	draft.Set(field.Key, map[bool]string{true: answers.SwapYes, false: answers.SwapNo}[yes], answers.Asked)
	_ = draft.Keep(string(keptDraft(a)))
	return nil
}

func prepareCommand(a *app) *cobra.Command {
	var yes, dry bool
	cmd := &cobra.Command{
		Use:        "prepare",
		SuggestFor: []string{"docker", "setup"},
		Short:      "Install Docker, or the parts of it that are missing, from the distribution's packages",
		Long: "Shows what it would run, asks, and installs Docker and its Compose plugin where they are missing. appliance up\n" +
			"offers the same on a terminal. A Docker that is already installed is not replaced.",
		Example: "  appliance prepare\n  appliance prepare --yes && appliance up --answers answers.yaml",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			offer, err := provision.DockerOffer(cmd.Context(), a.dir)
			if err != nil {
				return err
			}
			if offer.Why != "" && !dry {
				if !yes {
					propose(a, offer)
					err = agree(a, "Run this now?")
				}
				if err == nil {
					err = installDocker(a, cmd.Context())
				}
			}
			if err != nil {
				return err
			}
			done := offer.Why != "" && !dry
			return a.show(map[string]any{"lacking": offer.Why, "commands": append([]string{}, offer.Commands...), "installed": done}, func(w io.Writer) {
				switch {
				case offer.Why == "":
					fmt.Fprintln(w, "nothing to do")
				case dry:
					fmt.Fprintln(w, offer.Text())
				default:
					fmt.Fprintln(w, "Docker is ready; continue with: appliance up")
				}
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print what would be run and exit")
	return cmd
}

// offerDocker offers to install what a host lacks of Docker before anything else is
// installed there. Without a terminal it installs that only on request. If the operator
// declines, the checks of the host report what is missing.
func offerDocker(a *app, ctx context.Context, unattended bool) error {
	if site.Exists(a.dir) || !unattended && (a.json || a.quiet || !a.onTerminal()) {
		return nil
	}
	offer, err := provision.DockerOffer(ctx, a.dir)
	switch {
	case err != nil && !unattended:
		return ctx.Err() // the checks of the host report it, with everything else
	case err != nil || offer.Why == "":
		return err
	}
	if !unattended {
		propose(a, offer)
		tty := a.terminal()
		if tty == nil {
			return nil
		}
		defer func() { _ = tty.Close() }()
		switch yes, err := wizard.Propose(tty, "Run this now?", ""); {
		case err != nil:
			return interrupted(a)
		case !yes:
			return nil
		}
	}
	return installDocker(a, ctx)
}

func propose(a *app, offer provision.Offer) { fmt.Fprintln(a.env.Stderr, offer.Text()) }

func installDocker(a *app, ctx context.Context) error {
	out := a.env.Stderr
	if a.quiet || a.json {
		out = io.Discard
	}
	return provision.InstallDocker(ctx, a.dir, out)
}
