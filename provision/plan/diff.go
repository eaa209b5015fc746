package plan

import (
	"fmt"
	"slices"
	"strings"

	"appliance/bridge/config"
	"appliance/provision/render"
)

// Difference describes in a few lines how a file on the host differs from the rendered one.
// What may be secret is not shown.
func Difference(path string, have, want render.File) string {
	if path == BridgeFile {
		if reason := bridgeDifference(path, have.Data, want.Data); reason != "" {
			return reason
		}
	}
	if want.Mode&0o044 == 0 {
		return "it holds secrets, so the difference is not shown"
	}
	was, now := lines(have.Data), lines(want.Data)
	var out []string
	for _, l := range was {
		if !slices.Contains(now, l) {
			out = append(out, "on this host: "+l)
		}
	}
	for _, l := range now {
		if !slices.Contains(was, l) {
			out = append(out, "ours: "+l)
		}
	}
	if more := len(out) - 8; more > 0 {
		out = append(out[:8], fmt.Sprintf("and %d lines more", more))
	}
	return strings.Join(out, "\n           ")
}

func bridgeDifference(path string, have, want []byte) string {
	ours, err := config.Parse(path, want)
	if err != nil {
		return ""
	}
	theirs, err := config.Parse(path, have)
	if err != nil {
		return err.Error()
	}
	return "keys that belong to appliance.yaml were changed: " + strings.Join(config.ChangedFixed(theirs, ours), ", ")
}

func lines(data []byte) []string {
	var out []string
	for l := range strings.Lines(string(data)) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}
