package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/archive"
	"appliance/provision/backup"
	"appliance/provision/checkup"
	"appliance/provision/doctor"
	"appliance/provision/site"
)

func backupDrillCommand(a *app) *cobra.Command {
	keys := keyFlags{canIdentify: true}
	var alarm bool
	cmd := &cobra.Command{
		Use:   "drill [FILE]",
		Short: "Restore the newest backup beside the running installation, and report whether it is usable",
		Long: "Verifies the newest backup, or FILE, unpacks it into a directory of its own and loads the databases into servers\n" +
			"of their own, which nothing reaches. All of that is removed at the end. The running installation is not touched.",
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(func(on *site.Site) error {
				done, err := a.drill(cmd.Context(), on, args, &keys, alarm)
				if err != nil {
					return err
				}
				return a.show(done, func(w io.Writer) {
					fmt.Fprintf(w, "%s is usable: made on %s, %.1f MB, the test restore took %s\n",
						done.File, done.Created.Format(time.RFC3339), float64(done.Bytes)/1e6, done.Took.Round(100*time.Millisecond))
					for _, name := range slices.Sorted(maps.Keys(done.Databases)) {
						fmt.Fprintf(w, "%s: %s\n", name, counted(done.Databases[name], "table or collection", "tables or collections"))
					}
				})
			})
		},
	}
	keys.add(cmd)
	cmd.Flags().BoolVar(&alarm, "alarm", false, "send an alarm if it fails (see the answer alarms)")
	return cmd
}

// drill restores a backup beside the installation. The outcome is recorded for the doctor
// and the console, unless the backup was named.
func (a *app) drill(ctx context.Context, on *site.Site, args []string, keys *keyFlags, alarm bool) (done archive.Drilled, err error) {
	k, err := keys.reading(a.dir)
	if err != nil {
		return done, err
	}
	err = a.reporting(func(r provision.Reporter) (err error) {
		done, err = drill(ctx, on, args, k, r)
		return err
	})
	if len(args) == 0 {
		noted(a, ctx, on, doctor.ChoreDrill, err, alarm)
	}
	return done, errors.Join(err, checkup.Drilled(ctx, on, err))
}

// drill restores the named backup, or the newest one.
func drill(ctx context.Context, on *site.Site, args []string, keys backup.Keys, r provision.Reporter) (done archive.Drilled, err error) {
	if len(args) == 0 {
		newest, err := archive.Newest(on)
		if err != nil {
			return done, err
		}
		args = []string{newest}
	}
	return archive.Drill(ctx, on, args[0], keys, r)
}
