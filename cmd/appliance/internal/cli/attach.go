package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision/attach"
	"appliance/provision/site"
)

func attachCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "attach",
		Short: "Show what to add to an external homeserver or Rocket.Chat",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.with(func(on *site.Site) error {
				list, err := attach.Attachments(on.Dir, on.Answers)
				if err != nil {
					return err
				}
				return a.show(append([]attach.Attachment{}, list...), func(w io.Writer) {
					if len(list) == 0 {
						fmt.Fprintln(w, "nothing: the homeserver and Rocket.Chat belong to this installation")
					}
					ui.Attachments(w, list)
				})
			})
		},
	}
}
