package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"appliance/provision"
)

func secretsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets",
		Short: "Replace secrets of the installation",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Replace a secret and restart the services that use it",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	rotate.AddCommand(rotateCreateTokenCommand(a))
	cmd.AddCommand(rotate)
	return cmd
}

func rotateCreateTokenCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "create-token",
		Short: "Replace CREATE_TOKENS_FOR_USERS_SECRET, with which any user could sign in as another; restarts Rocket.Chat and the bridge",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.absolute(); err != nil {
				return err
			}
			if !yes {
				if err := a.confirm("Restart Rocket.Chat and the bridge with a new secret?"); err != nil {
					return err
				}
			}
			program, err := a.env.Executable()
			if err != nil {
				return err
			}
			err = a.reporting(func(r provision.Reporter) error {
				return provision.RotateCreateToken(cmd.Context(), provision.Options{Dir: a.dir, Program: program}, r)
			})
			if err != nil {
				return err
			}
			return a.show(map[string]string{"rotated": "create-token"}, func(w io.Writer) {
				fmt.Fprintln(w, "rotated; backups made before still hold the old secret")
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for confirmation")
	return cmd
}
