package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"appliance/provision"
)

func (a *app) synapseAdminCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "synapse-admin",
		Short: "Sign in to the web page that administers Synapse: prints its address and a new access token",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(i *provision.Installed) error {
				admin, err := i.SynapseAdmin(cmd.Context())
				if err != nil {
					return err
				}
				doc := map[string]string{"url": admin.URL, "user_id": admin.UserID, "access_token": admin.Token.Reveal()}
				return a.show(doc, func(w io.Writer) {
					fmt.Fprintf(w, "address        %s, on this host; from yours: ssh -L %d:127.0.0.1:%d %s\nuser           %s\naccess token   %s\n\n"+
						"Sign in with the access token. An earlier one has ended.\n",
						admin.URL, i.Answers.SynapseAdminPort, i.Answers.SynapseAdminPort, i.Answers.Domain, admin.UserID, admin.Token.Reveal())
				})
			})
		},
	}
}
