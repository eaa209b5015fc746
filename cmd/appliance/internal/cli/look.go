package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/ui"
	"appliance/provision"
	"appliance/provision/checkup"
	"appliance/provision/finding"
	"appliance/provision/site"
)

func statusCommand(a *app) *cobra.Command {
	var watch bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:        "status",
		Aliases:    []string{"ps"},
		SuggestFor: []string{"state", "info"},
		Example:    "  appliance status\n  appliance status --watch",
		Short:      "Show the services and the certificates",
		Args:       exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return &usageError{err: errors.New("--interval must be at least 100ms")}
			}
			return examine(a, func(on *site.Site) error {
				if watch {
					return watchStatus(a, cmd.Context(), on, interval)
				}
				st, err := provision.StatusOf(cmd.Context(), on)
				if err != nil {
					return err
				}
				return a.show(st, func(w io.Writer) {
					var b strings.Builder
					ui.Status(&b, st)
					_, _ = io.WriteString(w, ui.Fit(a.exact(b.String()), ui.Width(a.env.Stdout)))
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "refresh until interrupted")
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "refresh interval of --watch")
	return cmd
}

// watchStatus refreshes the status, and shows a failure to read it too. As JSON it is one
// document per line.
func watchStatus(a *app, ctx context.Context, on *site.Site, interval time.Duration) error {
	screen := ui.NewScreen(a.env.Stdout, a.env.Environ)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		st, err := provision.StatusOf(ctx, on)
		if ctx.Err() == nil {
			if err := drawStatus(a, screen, st, err, interval); err != nil {
				return err // nobody is reading any more
			}
		}
		select {
		case <-ctx.Done():
			if !a.json {
				screen.Close()
			}
			return nil // as it was asked to
		case <-tick.C:
		}
	}
}

func drawStatus(a *app, screen *ui.Screen, st provision.Status, failed error, interval time.Duration) error {
	now := time.Now().UTC()
	if a.json {
		doc := struct {
			At time.Time `json:"at"`
			provision.Status
			Error string `json:"error,omitempty"`
		}{At: now, Status: st}
		if failed != nil {
			doc.Error = failed.Error()
		}
		return json.NewEncoder(a.env.Stdout).Encode(doc)
	}
	var b strings.Builder
	ui.Status(&b, st)
	if failed != nil {
		fmt.Fprintf(&b, "\nerror: %v\n", failed)
	}
	screen.Draw(a.exact(b.String()), fmt.Sprintf("%s UTC, every %s; Ctrl-C ends", now.Format(time.TimeOnly), interval))
	return nil
}

func doctorCommand(a *app) *cobra.Command {
	var strict, alarm bool
	cmd := &cobra.Command{
		Use:        "doctor",
		Aliases:    []string{"check"},
		SuggestFor: []string{"diagnose", "test"},
		Example:    "  appliance doctor\n  appliance doctor --quiet --strict",
		Short:      "Diagnose the installation and say how to fix it",
		Long: "Diagnose the installation and say how to fix it: causes first, with what follows from them. With --quiet it prints\n" +
			"only problems, and nothing if there are none.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return examine(a, func(on *site.Site) error {
				findings := a.findings(checkup.Run(cmd.Context(), on))
				askForRelease(a, cmd.Context(), on)
				worst := finding.Worst(findings)
				if alarm {
					if _, err := checkup.Alarm(cmd.Context(), on, findings); err != nil {
						fmt.Fprintf(a.env.Stderr, "appliance: %v\n", err) // the findings matter more
					}
				}
				var err error
				switch {
				case a.quiet && worst == finding.OK:
				case a.json:
					err = json.NewEncoder(a.env.Stdout).Encode(findings)
				case a.quiet:
					ui.Warnings(a.env.Stdout, colours(a, a.env.Stdout), findings)
				default:
					ui.Findings(a.env.Stdout, colours(a, a.env.Stdout), findings)
				}
				if err == nil && (worst == finding.Fail || strict && worst == finding.Warn) {
					err = errDoctor
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&alarm, "alarm", false, "send an alarm if the findings have changed (see the answer alarms)")
	cmd.Flags().BoolVar(&strict, "strict", false, "treat warnings as failures")
	return cmd
}
