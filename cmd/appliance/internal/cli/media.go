package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/media"
	"appliance/provision/site"
)

func mediaCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "media",
		Short: "Remove old copies of other servers' media",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(mediaPruneCommand(a))
	return cmd
}

func mediaPruneCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove copies of other servers' media older than the answer remote_media_days",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				done, err := media.Prune(cmd.Context(), on, time.Now())
				if err != nil {
					return err
				}
				return a.show(done, func(w io.Writer) {
					if done.Itself {
						fmt.Fprintln(w, "nothing to do")
					} else {
						fmt.Fprintf(w, "removed %s (%.1f MB)\n", counted(done.Files, "file", "files"), float64(done.Bytes)/1e6)
					}
				})
			})
		},
	}
}
