package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"appliance/bridge"
)

func bridgeCommand(a *app) *cobra.Command {
	var file, hostFile string
	cmd := &cobra.Command{
		Use:   "bridge",
		Short: "Run the bridge between Rocket.Chat and Matrix until stopped",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := new(slog.LevelVar)
			log := slog.New(slog.NewTextHandler(a.env.Stderr, &slog.HandlerOptions{Level: level}))
			err := bridge.Run(cmd.Context(), bridge.Options{ConfigFile: file, HostFile: hostFile, Log: log, Level: level, Version: a.buildInfo().Version})
			if cmd.Context().Err() != nil {
				return nil // stopped, as services are
			}
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "bridge.yaml", "configuration `FILE`")
	cmd.Flags().StringVar(&hostFile, "host-status", "", "`FILE` that the other commands leave for the console")
	cmd.AddCommand(migrateDatabaseCommand(a))
	return cmd
}
