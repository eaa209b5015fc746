package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"appliance/bridge/config"
	"appliance/bridge/store"
	"appliance/provision"
	"appliance/provision/answers"
	"appliance/provision/bridgedata"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// migrateOptions say where the bridge's data goes.
type migrateOptions struct {
	to, toFile, caFile string
	config             string // of a bridge that runs without an installation
	dryRun, yes        bool
	patience           time.Duration
}

func migrateDatabaseCommand(a *app) *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use:   "migrate-database",
		Short: "Move the bridge's data to another database, and back",
		Long: "Stops the bridge, copies everything that it has stored, compares the number of rows and a checksum of\n" +
			"every table, changes the answer bridge_database and starts the bridge on the new database. If it is\n" +
			"interrupted, run it again. To move back, run the same command with --to sqlite.",
		Example: "  appliance bridge migrate-database --to bundled\n  appliance bridge migrate-database --to-file /root/postgres-url --dry-run\n  appliance bridge migrate-database --to sqlite",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			target, err := o.target()
			if err != nil {
				return err
			}
			if o.config != "" {
				return migrateAlone(a, cmd.Context(), o, target)
			}
			return migrateInstalled(a, cmd.Context(), o, target)
		},
	}
	cmd.Flags().StringVar(&o.to, "to", "", "the new `DATABASE`: sqlite, bundled, or the URL of a PostgreSQL without a password")
	cmd.Flags().StringVar(&o.toFile, "to-file", "", "read the URL of the new database from `FILE`, which only its owner can read")
	cmd.Flags().StringVar(&o.caFile, "ca-file", "", "`FILE` with the certificate authorities for the new PostgreSQL, in PEM")
	cmd.Flags().StringVar(&o.config, "config", "", "move the data of a bridge without an installation, which has this configuration `FILE` and is stopped")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "look at both databases, count what would be moved, and change nothing")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask for confirmation")
	cmd.Flags().DurationVar(&o.patience, "patience", 60*time.Second, "how long to wait for the bridge to become healthy")
	cmd.MarkFlagsMutuallyExclusive("to", "to-file")
	return cmd
}

// target is the new database, whose password must not be visible to the other users of the host.
func (o migrateOptions) target() (string, error) {
	switch {
	case o.to == "" && o.toFile == "":
		return "", &usageError{err: errors.New("name the new database with --to or --to-file")}
	case o.toFile != "":
		url, err := bridgedata.ReadURL(o.toFile)
		if err == nil && url == "" {
			err = &usageError{err: errors.New(o.toFile + " is empty, and should hold a URL such as postgres://user:password@host/name")}
		}
		return url, err
	}
	if seen, ok := errors.AsType[*bridgedata.PasswordError](bridgedata.CheckArgument(o.to)); ok {
		return "", &usageError{err: seen, hint: seen.Hint()}
	}
	return o.to, nil
}

// migrateInstalled moves the data of the installation's bridge.
func migrateInstalled(a *app, ctx context.Context, o migrateOptions, target string) error {
	var set []string
	var done store.Moved
	err := a.with(func(on *site.Site) error {
		set = []string{"bridge_database=" + target}
		if ca := cmp.Or(o.caFile, on.Answers.BridgeDatabaseCAFile); o.caFile != "" || ca != "" {
			if answers.IsURL(target) {
				set = append(set, "bridge_database_ca_file="+ca)
			} else {
				set = append(set, "bridge_database_ca_file=")
			}
		}
		after, err := changed(a, on.Answers, set)
		if err != nil {
			return err
		}
		ends, err := bridgedata.Locate(ctx, on, after)
		if err != nil {
			return err
		}
		if ends.From.Reveal() == ends.To.Reveal() {
			return a.show(done, func(w io.Writer) { fmt.Fprintln(w, "nothing to do: the bridge uses this database") })
		}
		m := store.Moving{From: ends.From.Reveal(), To: ends.To.Reveal()}
		if done, err = rehearsed(ctx, m); err != nil || o.dryRun {
			return errors.Join(err, showMove(a, done, err))
		}
		if !o.yes {
			if err := agree(a, fmt.Sprintf("Stop the bridge and move %d rows from %s to %s?", done.Rows, done.From, done.To)); err != nil {
				return err
			}
		}
		return a.reporting(func(r provision.Reporter) error {
			return bridgedata.Run(ctx, on, r, func(progress func(string, int64, int64)) (err error) {
				m.Progress = progress
				done, err = store.Move(ctx, m)
				return err
			})
		})
	})
	if err != nil || done.DryRun || done.To == "" {
		return err
	}
	if err := showMove(a, done, nil); err != nil {
		return err
	}
	err = a.up(ctx, upOptions{answerFlags: answerFlags{set: set}, yes: true, patience: o.patience})
	if err != nil {
		note(a, "the data is in "+done.To+"; when this is corrected, run the same command again")
	}
	return err
}

// rehearsed examines both databases before anything is stopped.
func rehearsed(ctx context.Context, m store.Moving) (store.Moved, error) {
	m.DryRun = true
	return store.Move(ctx, m)
}

// migrateAlone moves the data of a bridge that runs without an installation.
func migrateAlone(a *app, ctx context.Context, o migrateOptions, target string) error {
	c, err := config.Load(o.config)
	if err != nil {
		return err
	}
	if !strings.Contains(target, ":") {
		return &usageError{err: fmt.Errorf("with --config name the database as in that file: sqlite:/data/bridge.db or a URL, and not %q", target)}
	}
	m := store.Moving{From: c.Database, To: target, DryRun: o.dryRun}
	if m.DryRun {
		done, err := store.Move(ctx, m)
		return errors.Join(err, showMove(a, done, err))
	}
	var done store.Moved
	err = a.reporting(func(r provision.Reporter) error {
		step := plan.Step{ID: "move", Title: "copy the bridge's data, and compare it"}
		return plan.Track(r, step, func() (err error) {
			m.Progress = func(what string, done, total int64) { r.Progress(step.ID, what, done, total) }
			done, err = store.Move(ctx, m)
			return err
		})
	})
	if err != nil {
		return err
	}
	note(a, "now name the new database in "+o.config+", and start the bridge")
	return showMove(a, done, nil)
}

// showMove prints what was moved, or would be.
func showMove(a *app, done store.Moved, failed error) error {
	if failed != nil {
		return nil
	}
	return a.show(done, func(w io.Writer) {
		switch {
		case done.Already:
			fmt.Fprintf(w, "everything is in %s already\n", done.To)
			return
		case done.DryRun:
			fmt.Fprintf(w, "%d rows would move from %s to %s:\n", done.Rows, done.From, done.To)
		default:
			fmt.Fprintf(w, "moved %d rows from %s to %s in %.1f s; every table was read back and matches:\n", done.Rows, done.From, done.To, done.Took)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, table := range done.Tables {
			fmt.Fprintf(t, "%s\t%d\t%.16s\n", table.Name, table.Rows, table.Checksum)
		}
		_ = t.Flush()
		if done.Changed > 0 {
			fmt.Fprintf(w, "%d texts had characters that PostgreSQL cannot store; these were removed\n", done.Changed)
		}
	})
}
