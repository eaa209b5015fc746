package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/site"
)

func downCommand(a *app) *cobra.Command {
	var purge, yes bool
	cmd := &cobra.Command{
		Use:     "down",
		Aliases: []string{"stop"},
		Example: "  appliance down\n  appliance down --purge",
		Short:   "Stop the services and keep the data; --purge removes everything but certificates and backups",
		Args:    exactly(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.down(cmd.Context(), purge, yes) },
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "remove data, configuration and secrets too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) down(ctx context.Context, purge, yes bool) error {
	return examine(a, func(on *site.Site) error {
		if purge && !yes {
			if err := a.confirm("Remove all messages, accounts and secrets in " + a.dir + "?"); err != nil {
				return err
			}
		}
		if err := a.reporting(func(r provision.Reporter) error { return provision.Down(ctx, on, purge, r) }); err != nil {
			return err
		}
		return a.show(map[string]any{"dir": a.dir, "purged": purge}, func(w io.Writer) {
			if purge {
				fmt.Fprintf(w, "removed; certificates and backups are still in %s: remove these too with: appliance uninstall --all\n", a.dir)
			} else {
				fmt.Fprintln(w, "stopped; start again with: appliance up")
			}
		})
	})
}
