package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/render"
	"appliance/provision/settings"
	"appliance/provision/site"
	"appliance/provision/support"
)

func logsCommand(a *app) *cobra.Command {
	var follow bool
	var tail, since string
	cmd := &cobra.Command{
		Use:   "logs [service...]",
		Short: "Show the logs of the services, with secrets masked",
		RunE: func(cmd *cobra.Command, args []string) error {
			return examine(a, func(on *site.Site) error {
				return support.Logs(cmd.Context(), on, a.env.Stdout, a.env.Stderr, follow, tail, since, args...)
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "follow the logs until interrupted")
	cmd.Flags().StringVar(&since, "since", "", "only lines after `WHEN`: a time, or a duration such as 2h")
	cmd.Flags().StringVarP(&tail, "tail", "n", "100", "number of `lines` per service to start with, or all")
	return cmd
}

func reloadCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make the bridge reload bridge.yaml (it does so by itself when the file changes)",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error { return settings.Reload(cmd.Context(), on) })
		},
	}
}

// probeCommand is the health check of images that contain only this program.
func probeCommand(*app) *cobra.Command {
	return &cobra.Command{
		Use:    "probe URL",
		Short:  "Succeed if URL answers with a 2xx status",
		Hidden: true,
		Args:   exactly(1),
		RunE:   func(cmd *cobra.Command, args []string) error { return probe(cmd.Context(), args[0]) },
	}
}

func probe(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return &usageError{err}
	}
	res, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", url, res.Status)
	}
	return nil
}

// A buildInfo says what this program is.
type buildInfo struct {
	Version  string            `json:"version"`
	Revision string            `json:"revision,omitempty"`
	Go       string            `json:"go"`
	Platform string            `json:"platform"`
	Images   map[string]string `json:"images"` // what it was tested with
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, with --json also those of all images",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			info := a.buildInfo()
			if a.json {
				return json.NewEncoder(a.env.Stdout).Encode(info)
			}
			fmt.Fprintf(a.env.Stdout, "appliance %s (%s, %s)\n", info.Version, info.Go, info.Platform)
			return nil
		},
	}
}

func (a *app) buildInfo() buildInfo {
	info := buildInfo{Version: a.env.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Images: render.Images()}
	if built, ok := debug.ReadBuildInfo(); ok {
		if info.Version == "" {
			info.Version = built.Main.Version
		}
		for _, s := range built.Settings {
			if s.Key == "vcs.revision" {
				info.Revision = s.Value
			}
		}
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	return info
}
