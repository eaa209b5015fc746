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
)

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
		return &usageError{err: err}
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

func (i buildInfo) line() string {
	return fmt.Sprintf("appliance %s (%s, %s)", i.Version, i.Go, i.Platform)
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
			fmt.Fprintln(a.env.Stdout, info.line())
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
