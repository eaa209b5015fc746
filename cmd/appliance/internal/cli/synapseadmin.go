package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"appliance/provision/site"
	"appliance/provision/synapseadmin"
)

func synapseAdminCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "synapse-admin",
		Short: "Print the address of the Synapse admin page and a new access token for it",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				admin, err := synapseadmin.Run(cmd.Context(), on)
				if err != nil {
					return err
				}
				doc := map[string]string{"url": admin.URL, "user_id": admin.UserID, "access_token": admin.Token.Reveal()}
				return a.show(doc, func(w io.Writer) {
					fmt.Fprintf(w, "address        %s, on this host; from yours: ssh -L %d:127.0.0.1:%d %s\nuser           %s\naccess token   %s\n\n"+
						"Sign in with the access token. Earlier tokens are revoked.\n",
						admin.URL, on.Answers.SynapseAdminPort, on.Answers.SynapseAdminPort, on.Answers.Domain, admin.UserID, admin.Token.Reveal())
				})
			})
		},
	}
}
