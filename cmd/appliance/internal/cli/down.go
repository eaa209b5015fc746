package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision"
)

func (a *app) downCommand() *cobra.Command {
	var purge, yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the services and keep the data; with --purge remove everything but certificates and backups",
		Args:  exactly(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.down(cmd.Context(), purge, yes) },
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "remove data, configuration and secrets too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) down(ctx context.Context, purge, yes bool) error {
	installed, err := a.installed()
	if err != nil {
		return err
	}
	defer func() { _ = installed.Close() }()
	if purge && !yes {
		if err := a.confirm("Remove all messages, accounts and secrets in " + a.dir + "?"); err != nil {
			return err
		}
	}
	printer := a.printer()
	err = installed.Down(ctx, purge, printer)
	printer.Close()
	if err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(a.env.Stdout).Encode(map[string]any{"dir": a.dir, "purged": purge})
	}
	if purge {
		fmt.Fprintf(a.env.Stdout, "removed; certificates and backups are still in %s\n", a.dir)
	} else {
		fmt.Fprintln(a.env.Stdout, "stopped; start again with: appliance up")
	}
	return nil
}

// confirm asks a question whose answer must be yes.
func (a *app) confirm(question string) error {
	tty := a.terminal()
	if tty == nil {
		return &usageError{fmt.Errorf("%s there is no terminal to ask on: add --yes", question)}
	}
	defer func() { _ = tty.Close() }()
	yes, err := wizard.Confirm(tty, question)
	if err != nil || !yes {
		return errInterrupted
	}
	return nil
}

func (a *app) installed() (*provision.Installed, error) {
	if err := a.absolute(); err != nil {
		return nil, err
	}
	return provision.OpenInstalled(a.dir)
}
