package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/archive"
	"appliance/provision/backup"
	"appliance/provision/checkup"
	"appliance/provision/media"
	"appliance/provision/service"
	"appliance/provision/site"
	"appliance/provision/stack"
)

func serviceCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Run the installation as a service: start at boot, nightly backups, hourly health checks",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(serviceInstallCommand(a), serviceRemoveCommand(a), serviceStatusCommand(a), serviceRunCommand(a))
	return cmd
}

// unitDirFlag is for building host images.
func unitDirFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "unit-dir", "", "write the units to `DIR` and do not call systemd")
}

// chores are the flags of the periodic work.
type chores struct {
	o        service.Options
	noBackup bool
}

func (c *chores) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&c.o.Keep, "keep", service.DefaultKeep, "how many backups to keep")
	cmd.Flags().BoolVar(&c.noBackup, "no-backup", false, "do not make backups")
	cmd.Flags().StringVar(&c.o.Recipients, "recipients-file", "", "encrypt backups for the age public keys in `FILE`, one per line, instead of the installation's own key")
	cmd.Flags().BoolVar(&c.o.Plain, "no-encryption", false, "do not encrypt backups")
	cmd.MarkFlagsMutuallyExclusive("no-encryption", "recipients-file")
}

func (c *chores) options() (o service.Options, keys backup.Keys, err error) {
	if err := keys.To(nil, c.o.Recipients); err != nil {
		return o, keys, &usageError{err: err}
	}
	switch {
	case c.noBackup:
		c.o.Keep = 0
	case c.o.Keep < 1:
		return o, keys, &usageError{err: fmt.Errorf("--keep must be at least 1; for no backups give --no-backup")}
	}
	return c.o, keys, nil
}

func serviceInstallCommand(a *app) *cobra.Command {
	var c chores
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install systemd units: start at boot, a backup every night, a drill every month, the doctor every hour",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, _, err := c.options()
			if err != nil {
				return err
			}
			return a.with(func(on *site.Site) error {
				program, err := a.env.Executable()
				if err != nil {
					return err
				}
				if o.Program, err = service.ProgramFile(program); err != nil {
					return err
				}
				changed, err := service.Install(cmd.Context(), on, o)
				if err != nil {
					return err
				}
				return a.show(map[string]any{"changed": changed}, func(w io.Writer) {
					if changed {
						fmt.Fprintln(w, "installed; see: appliance service status")
					} else {
						fmt.Fprintln(w, "nothing to do")
					}
				})
			})
		},
	}
	c.add(cmd)
	unitDirFlag(cmd, &c.o.UnitDir)
	return cmd
}

func serviceRemoveCommand(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Remove the units; running services stay up",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				removed, err := service.Remove(cmd.Context(), on, dir)
				if err != nil {
					return err
				}
				return a.show(map[string]any{"removed": append([]string{}, removed...)}, func(w io.Writer) {
					if len(removed) == 0 {
						fmt.Fprintln(w, "nothing to do")
					} else {
						fmt.Fprintf(w, "removed %s\n", counted(len(removed), "unit", "units"))
					}
				})
			})
		},
	}
	unitDirFlag(cmd, &dir)
	return cmd
}

func serviceStatusCommand(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of the units",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				list, err := service.Status(cmd.Context(), on, dir)
				if err != nil {
					return err
				}
				return a.show(append([]stack.UnitStatus{}, list...), func(w io.Writer) {
					if len(list) == 0 {
						fmt.Fprintln(w, "none; add them with: appliance service install")
						return
					}
					t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					for _, u := range list {
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", u.Unit, u.Enabled, u.Active, u.Result, u.Next)
					}
					_ = t.Flush()
				})
			})
		},
	}
	unitDirFlag(cmd, &dir)
	return cmd
}

func serviceRunCommand(a *app) *cobra.Command {
	var c chores
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Without systemd: do the work of its timers until stopped",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, keys, err := c.options()
			if err != nil {
				return err
			}
			return a.with(func(on *site.Site) error {
				last := func(name string) time.Time {
					switch name {
					case "backup":
						return checkup.LastBackup(on)
					case "drill": // the first one a month after the start: there has to be a backup
						if last := checkup.LastDrill(on); !last.IsZero() {
							return last
						}
						return time.Now()
					}
					return time.Time{}
				}
				service.Chores(cmd.Context(), choresOf(a, on, o, keys), last, func(name string, err error) {
					fmt.Fprintf(a.env.Stderr, "%s appliance: %s: %v\n", time.Now().UTC().Format(time.RFC3339), name, err)
				})
				return nil // stopped, as services are
			})
		},
	}
	c.add(cmd)
	return cmd
}

func choresOf(a *app, on *site.Site, o service.Options, keys backup.Keys) []service.Chore {
	list := []service.Chore{
		{Name: "doctor", Every: time.Hour, Do: func(ctx context.Context) error {
			findings := checkup.Run(ctx, on)
			askForRelease(a, ctx, on)
			_, err := checkup.Alarm(ctx, on, a.findings(findings))
			return err
		}},
		{Name: "certificates", Every: 12 * time.Hour, Do: func(ctx context.Context) error {
			_, err := a.renew(ctx, on)
			return err
		}},
	}
	if o.Keep > 0 {
		list = append(list, service.Chore{Name: "backup", Every: 24 * time.Hour, Do: func(ctx context.Context) error {
			_, mediaErr := media.Prune(ctx, on, time.Now())
			_, err := a.backup(ctx, on, archive.Options{Keys: keys, Plain: o.Plain, Keep: o.Keep}, true)
			return errors.Join(err, mediaErr)
		}})
	}
	if o.Drill() {
		list = append(list, service.Chore{Name: "drill", Every: 30 * 24 * time.Hour, Do: func(ctx context.Context) error {
			_, err := a.drill(ctx, on, nil, &keyFlags{}, true)
			return err
		}})
	}
	return list
}
