package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision"
	"appliance/provision/certs"
	"appliance/provision/site"
)

func certsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Show and renew certificates",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(certsStatusCommand(a), certsRenewCommand(a), certsServeCommand(a))
	return cmd
}

func certsStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the certificate of each host name",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.with(func(on *site.Site) error {
				list, err := provision.Certificates(on)
				if err != nil {
					return err
				}
				return a.show(list, func(w io.Writer) { ui.Certificates(w, list) })
			})
		},
	}
}

func certsRenewCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "renew",
		Short: "Renew the certificates that are due, and install certificate files that have changed",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				renewed, err := a.renew(cmd.Context(), on)
				switch {
				case err != nil:
				case a.json:
					err = json.NewEncoder(a.env.Stdout).Encode(map[string]any{"renewed": append([]string{}, renewed...)})
				case len(renewed) == 0:
					fmt.Fprintln(a.env.Stdout, "nothing to do")
				}
				return err
			})
		},
	}
}

func (a *app) renew(ctx context.Context, on *site.Site) (renewed []string, err error) {
	err = a.reporting(func(r provision.Reporter) (err error) {
		renewed, err = provision.RenewCertificates(ctx, on, r)
		return err
	})
	return renewed, err
}

func certsServeCommand(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer ACME challenges and renew certificates until stopped",
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
