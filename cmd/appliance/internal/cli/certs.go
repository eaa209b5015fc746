package cli

import (
	"encoding/json"
	"log/slog"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision/certs"
)

func (a *app) certsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Look at certificates and keep them fresh",
		Args:  exactly(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.certsStatusCommand(), a.certsServeCommand())
	return cmd
}

func (a *app) certsStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the certificate of every name",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			installed, err := a.installed()
			if err != nil {
				return err
			}
			defer func() { _ = installed.Close() }()
			list, err := installed.Certificates()
			if err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(a.env.Stdout).Encode(list)
			}
			ui.Certificates(a.env.Stdout, list)
			return nil
		},
	}
}

func (a *app) certsServeCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer the authority's challenges and renew certificates, until stopped",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := certs.LoadConfig(file)
			if err != nil {
				return err
			}
			err = certs.Serve(cmd.Context(), cfg, slog.New(slog.NewTextHandler(a.env.Stderr, nil)))
			if cmd.Context().Err() != nil {
				return nil // stopped, as services are
			}
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "/etc/appliance/certs.yaml", "configuration `FILE`")
	return cmd
}
