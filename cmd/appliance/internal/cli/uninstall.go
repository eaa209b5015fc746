package cli

import (
	"context"
	"errors"
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
		Long: "Remove the installation, its certificates and images; backups and their key stay unless --all. It also removes what\n" +
			"appliance down --purge has left. The program stays, and so does a directory that it did not make.",
		Example: "  appliance uninstall\n  appliance uninstall --all --yes",
		Args:    exactly(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return uninstall(a, cmd.Context(), yes, all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove backups too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// uninstall removes the installation, or what a purge left of it.
func uninstall(a *app, ctx context.Context, yes, all bool) error {
	err := examine(a, func(on *site.Site) error {
		return removing(a, yes, all, func(r provision.Reporter) error { return provision.Uninstall(ctx, on, all, r) })
	})
	if _, absent := errors.AsType[*site.AbsentError](err); !absent {
		return err
	}
	left, _, err := site.AfterPurge(a.dir)
	if err != nil {
		return err
	}
	_ = left.Close()
	return removing(a, yes, all, func(r provision.Reporter) error { return provision.UninstallPurged(ctx, a.dir, all, r) })
}

// removing asks, removes, and says what is left.
func removing(a *app, yes, all bool, remove func(provision.Reporter) error) error {
	if !yes {
		if err := a.confirm("Remove all messages, accounts, secrets, certificates and images of " + a.dir + "?"); err != nil {
			return err
		}
	}
	if err := a.reporting(remove); err != nil {
		return err
	}
	return a.show(map[string]any{"dir": a.dir, "removed": true}, func(w io.Writer) {
		fmt.Fprintf(w, "the installation was removed from %s%s\n", a.dir, map[bool]string{false: ", except backups"}[all])
	})
}
