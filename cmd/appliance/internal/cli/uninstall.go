package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"appliance/provision"
)

func (a *app) uninstallCommand() *cobra.Command {
	var yes, all bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the installation with its certificates and images; backups stay unless --all",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(i *provision.Installed) error {
				if !yes {
					if err := a.confirm("Remove all messages, accounts, secrets, certificates and images of " + a.dir + "?"); err != nil {
						return err
					}
				}
				printer := a.printer()
				err := i.Uninstall(cmd.Context(), all, printer)
				printer.Close()
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(a.env.Stdout).Encode(map[string]any{"dir": a.dir, "removed": true})
				}
				fmt.Fprintf(a.env.Stdout, "nothing of the installation is left in %s%s\n", a.dir, map[bool]string{false: " but its backups"}[all])
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove backups too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
