package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision"
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
	var strict, quiet, alarm bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong and say what to do about it",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(i *provision.Installed) error {
				findings := i.Doctor(cmd.Context())
				worst := finding.Worst(findings)
				if alarm {
					if _, err := i.Alarm(cmd.Context(), findings); err != nil {
						fmt.Fprintf(a.env.Stderr, "appliance: %v\n", err) // that it is ill counts for more
					}
				}
				var err error
				switch {
				case quiet && worst == finding.OK:
				case a.json:
					err = json.NewEncoder(a.env.Stdout).Encode(findings)
				case quiet:
					ui.Warnings(a.env.Stdout, findings)
				default:
					ui.Findings(a.env.Stdout, findings)
				}
				if err == nil && (worst == finding.Fail || strict && worst == finding.Warn) {
					err = errDoctor
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "say nothing when all is well, and otherwise only what is not")
	cmd.Flags().BoolVar(&alarm, "alarm", false, "tell the administrator in Rocket.Chat too, when it is not what was told last time")
	cmd.Flags().BoolVar(&strict, "strict", false, "a warning is a failure")
	return cmd
}
