package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/archive"
	"appliance/provision/offsite"
	"appliance/provision/site"
)

// placeFlags name a backup location where no installation does.
type placeFlags struct{ offsite.Config }

func (f *placeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.URL, "from", "", "look at `URL` instead of the answer backup_offsite, for a host without the installation")
	cmd.Flags().StringVar(&f.KeyFile, "key-file", "", "`FILE` with the keys to it, as in backup_offsite_key_file")
	cmd.Flags().StringVar(&f.HostKey, "host-key", "", "the public `KEY` of the SFTP server")
}

// place returns the named location, or that of the installation.
func (f *placeFlags) place(a *app) (offsite.Config, error) {
	if f.URL != "" {
		if err := offsite.Check(f.URL); err != nil {
			return f.Config, &usageError{err: fmt.Errorf("--from %w", err)}
		}
		if f.KeyFile == "" {
			return f.Config, &usageError{err: errors.New("--from needs --key-file")}
		}
		return f.Config, nil
	}
	c := offsite.Config{}
	err := a.with(func(on *site.Site) error {
		if c = archive.Place(on.Answers); c.URL == "" {
			return &usageError{err: errors.New("backup_offsite is empty: set it, or name a place with --from")}
		}
		return nil
	})
	return c, err
}

func backupListCommand(a *app) *cobra.Command {
	var at placeFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the off-site backups, newest first",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := at.place(a)
			if err != nil {
				return err
			}
			list, err := archive.ListOffsite(cmd.Context(), c)
			if err != nil {
				return err
			}
			return a.show(append([]offsite.Object{}, list...), func(w io.Writer) {
				for _, o := range list {
					fmt.Fprintf(w, "%s  %9.1f MB  %s\n", o.Time.UTC().Format(time.RFC3339), float64(o.Size)/1e6, o.Name)
				}
			})
		},
	}
	at.add(cmd)
	return cmd
}

func backupFetchCommand(a *app) *cobra.Command {
	var at placeFlags
	var output string
	cmd := &cobra.Command{
		Use:   "fetch [NAME]",
		Short: "Download the newest off-site backup, or a named one",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := at.place(a)
			if err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			var file string
			err = a.reporting(func(r provision.Reporter) (err error) {
				file, err = archive.Fetch(cmd.Context(), c, name, output, r)
				return err
			})
			if err != nil {
				return err
			}
			return a.show(map[string]string{"file": file}, func(w io.Writer) {
				fmt.Fprintf(w, "fetched %s; restore it with: appliance restore %s --identity backup.key\n", file, file)
			})
		},
	}
	at.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write it to `FILE` instead of its own name in this directory")
	return cmd
}
