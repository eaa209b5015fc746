package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
)

func (a *app) attachCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "attach",
		Short: "Show what to add to a homeserver or a Rocket.Chat that you had before",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			installed, err := a.installed()
			if err != nil {
				return err
			}
			defer func() { _ = installed.Close() }()
			list, err := installed.Attachments()
			if err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(a.env.Stdout).Encode(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(a.env.Stdout, "nothing: the homeserver and Rocket.Chat are of this installation")
			}
			ui.Attachments(a.env.Stdout, list)
			return nil
		},
	}
}
