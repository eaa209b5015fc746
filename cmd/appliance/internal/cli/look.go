package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision/finding"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what runs and which certificates there are",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			installed, err := a.installed()
			if err != nil {
				return err
			}
			defer func() { _ = installed.Close() }()
			st, err := installed.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(a.env.Stdout).Encode(st)
			}
			ui.Status(a.env.Stdout, st)
			return nil
		},
	}
}

func (a *app) doctorCommand() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong and say what to do about it",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			installed, err := a.installed()
			if err != nil {
				return err
			}
			defer func() { _ = installed.Close() }()
			findings := installed.Doctor(cmd.Context())
			if a.json {
				err = json.NewEncoder(a.env.Stdout).Encode(findings)
			} else {
				ui.Findings(a.env.Stdout, findings)
			}
			worst := finding.Worst(findings)
			if err == nil && (worst == finding.Fail || strict && worst == finding.Warn) {
				err = errDoctor
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "a warning is a failure")
	return cmd
}
