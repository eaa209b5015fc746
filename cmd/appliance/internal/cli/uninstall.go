package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/site"
)

func uninstallCommand(a *app) *cobra.Command {
	var yes, all bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the installation, its certificates and images; backups stay unless --all",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return examine(a, func(on *site.Site) error {
				if !yes {
					if err := a.confirm("Remove all messages, accounts, secrets, certificates and images of " + a.dir + "?"); err != nil {
						return err
					}
				}
				if err := a.reporting(func(r provision.Reporter) error { return provision.Uninstall(cmd.Context(), on, all, r) }); err != nil {
					return err
				}
				return a.show(map[string]any{"dir": a.dir, "removed": true}, func(w io.Writer) {
					fmt.Fprintf(w, "the installation was removed from %s%s\n", a.dir, map[bool]string{false: ", except backups"}[all])
				})
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove backups too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
