package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision"
	"appliance/provision/site"
	"appliance/provision/upgrade"
)

type upgradeOptions struct {
	versions                        string
	dryRun, yes, breaking, rollback bool
	finish                          bool
	patience                        time.Duration
	keep                            int
}

func upgradeCommand(a *app) *cobra.Command {
	var o upgradeOptions
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Upgrade to the versions of this program; roll back if they are unhealthy",
		Long: "Pulls the new images while the old ones run, makes a backup, and starts the new versions. If they are\n" +
			"unhealthy, it restores files and data and starts the previous versions. To upgrade, replace this\n" +
			"program with the new one and run it.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.absolute(); err != nil {
				return err
			}
			if o.keep < 0 {
				return &usageError{err: errors.New("--keep is a number of backups, or 0 for all")}
			}
			if o.rollback {
				return a.rollback(cmd.Context())
			}
			if o.finish {
				return finishUpgrade(a, cmd.Context())
			}
			return a.upgrade(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.versions, "versions", "", "use the images named in `FILE` instead of those of this program, until the next upgrade")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would change and exit")
	cmd.Flags().BoolVar(&o.breaking, "accept-breaking", false, "allow breaking changes")
	cmd.Flags().BoolVar(&o.rollback, "rollback", false, "roll back an interrupted upgrade")
	cmd.Flags().BoolVar(&o.finish, "finish", false, "only switch MongoDB to the data format of the running version, which an upgrade does at its end")
	cmd.MarkFlagsMutuallyExclusive("finish", "rollback")
	cmd.MarkFlagsMutuallyExclusive("finish", "versions")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask for confirmation")
	cmd.Flags().IntVar(&o.keep, "keep", 3, "keep the newest `N` of the backups made by upgrades; 0 keeps all")
	cmd.Flags().DurationVar(&o.patience, "patience", 3*time.Minute, "how long to wait for the new versions to become healthy")
	return cmd
}

func (a *app) upgrade(ctx context.Context, o upgradeOptions) error {
	program, err := a.env.Executable()
	if err != nil {
		return err
	}
	var versions []byte
	if o.versions != "" {
		if versions, err = os.ReadFile(o.versions); err != nil {
			return &usageError{err: err}
		}
	}
	u, err := upgrade.Prepare(ctx, upgrade.Options{
		Options: provision.Options{Dir: a.dir, Program: program}, NewVersions: versions,
		Breaking: o.breaking, Patience: o.patience, Version: a.buildInfo().Version, Keep: o.keep,
	})
	if u != nil {
		defer func() { _ = u.Close() }()
	}
	if err != nil {
		return err
	}
	if u.Plan.Empty() {
		return upgraded(a, u, "nothing to upgrade")
	}
	if !a.json {
		ui.Changes(a.env.Stdout, u)
	}
	if o.dryRun {
		if a.json {
			return upgraded(a, u, "")
		}
		return u.Gate(ctx)
	}
	if err := u.Gate(ctx); err != nil {
		return err
	}
	if !o.yes && a.onTerminal() {
		if err := a.confirm("Make a backup and upgrade?"); err != nil {
			return err
		}
	}
	printer := a.printer()
	err = u.Run(ctx, printer)
	printer.Close()
	if u.NewKey != nil {
		newKey(a, *u.NewKey)
	}
	if err != nil {
		return err
	}
	return upgraded(a, u, "upgraded; all checks pass")
}

func upgraded(a *app, u *upgrade.Upgrade, text string) error {
	if a.json {
		return json.NewEncoder(a.env.Stdout).Encode(map[string]any{"changed": !u.Plan.Empty(), "changes": u.Changes, "removed": u.Removed})
	}
	for _, name := range u.Removed {
		fmt.Fprintf(a.env.Stdout, "removed %s, from an earlier upgrade\n", name)
	}
	fmt.Fprintln(a.env.Stdout, text)
	return nil
}

func finishUpgrade(a *app, ctx context.Context) error {
	return a.with(func(on *site.Site) error {
		if !on.Answers.BundledMongo() {
			return &usageError{err: errors.New("--finish is for the bundled MongoDB, and mongo_url names an external one")}
		}
		if err := a.reporting(func(r provision.Reporter) error { return upgrade.Finish(ctx, on, r) }); err != nil {
			return err
		}
		return a.show(map[string]bool{"finished": true}, func(w io.Writer) {
			fmt.Fprintln(w, "finished: MongoDB uses the data format of the running version")
		})
	})
}

func (a *app) rollback(ctx context.Context) error {
	return a.with(func(on *site.Site) error {
		err := a.reporting(func(r provision.Reporter) error { return upgrade.Rollback(ctx, on, r) })
		if err != nil {
			return err
		}
		return a.show(map[string]bool{"rolled_back": true}, func(w io.Writer) {
			fmt.Fprintln(w, "rolled back: the previous version is running again")
		})
	})
}
