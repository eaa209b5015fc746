package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/internal/atomicfile"
)

// UnitDir is the directory for an administrator's units.
const UnitDir = "/etc/systemd/system"

// Units are the systemd units of an installation, in a directory.
type Units struct {
	Dir    string // where the files are
	Prefix string // what their names begin with
	Live   bool   // systemd runs here and has to be told of changes
}

// Systemd reports whether this host was booted with systemd.
func Systemd() bool {
	info, err := os.Lstat("/run/systemd/system") // as sd_booted(3) does
	return err == nil && info.IsDir()
}

// Docker returns the path of the docker command.
func Docker() (string, error) { return exec.LookPath("docker") }

// Names lists the names of the units that exist.
func (u Units) Names() []string {
	var out []string
	for _, pattern := range []string{".service", "-doctor.*", "-backup.*", "-drill.*", "-certs.*"} {
		found, _ := filepath.Glob(filepath.Join(u.Dir, u.Prefix+pattern))
		for _, f := range found {
			if ext := filepath.Ext(f); ext == ".service" || ext == ".timer" {
				out = append(out, filepath.Base(f))
			}
		}
	}
	slices.Sort(out)
	return out
}

// Owner returns the installation whose units have these names, or "" if there are none.
func (u Units) Owner() string {
	data, _ := os.ReadFile(filepath.Join(u.Dir, u.Prefix+".service"))
	for line := range strings.Lines(string(data)) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "WorkingDirectory="); ok {
			return strings.ReplaceAll(dir, "%%", "%")
		}
	}
	return ""
}

// started returns the units that systemd starts by itself.
func started(names []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return filepath.Ext(n) != ".timer" && n != prefix+".service"
	})
}

// Install writes units, removes those of this prefix that are no longer among
// them, and starts the timers. It reports whether anything had to be changed.
func (u Units) Install(ctx context.Context, files map[string][]byte) (changed bool, err error) {
	var obsolete []string
	for _, name := range u.Names() {
		if _, wanted := files[name]; !wanted {
			obsolete = append(obsolete, name)
		}
	}
	if err := u.drop(ctx, obsolete); err != nil {
		return false, err
	}
	changed = len(obsolete) > 0
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		file := filepath.Join(u.Dir, name)
		if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, files[name]) {
			continue
		}
		if err := atomicfile.Write(file, files[name], 0o644); err != nil {
			return changed, err
		}
		changed = true
	}
	if !u.Live {
		return changed, nil
	}
	if changed {
		if err := systemctl(ctx, "daemon-reload"); err != nil {
			return changed, err
		}
	}
	return changed, systemctl(ctx, append([]string{"enable", "--now"}, started(names, u.Prefix)...)...)
}

// Remove removes all units; running services stay up.
func (u Units) Remove(ctx context.Context) (removed []string, err error) {
	removed = u.Names()
	return removed, u.drop(ctx, removed)
}

func (u Units) drop(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if u.Live {
		for _, name := range started(names, u.Prefix) {
			args := []string{"disable", name}
			if filepath.Ext(name) == ".timer" {
				args = []string{"disable", "--now", name}
			}
			if err := systemctl(ctx, args...); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(u.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if u.Live {
		return systemctl(ctx, "daemon-reload")
	}
	return nil
}

// A UnitStatus is the state of a unit.
type UnitStatus struct {
	Unit    string `json:"unit"`
	Enabled string `json:"enabled,omitempty"` // enabled, disabled, static; empty when no systemd runs
	Active  string `json:"active,omitempty"`  // active, inactive, failed
	Result  string `json:"result,omitempty"`  // of the last run: success, exit-code, timeout
	Next    string `json:"next,omitempty"`    // when a timer next fires, as systemd writes it
}

// Status returns the state of each unit.
func (u Units) Status(ctx context.Context) ([]UnitStatus, error) {
	out := []UnitStatus{}
	for _, name := range u.Names() {
		st := UnitStatus{Unit: name}
		if u.Live {
			shown, err := exec.CommandContext(ctx, "systemctl", "show", name, "--property", "UnitFileState,ActiveState,Result,NextElapseUSecRealtime").Output() //nolint:gosec // our own names
			if err != nil {
				return nil, fmt.Errorf("systemctl show %s: %w", name, err)
			}
			for line := range strings.Lines(string(shown)) {
				switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
				case "UnitFileState":
					st.Enabled = value
				case "ActiveState":
					st.Active = value
				case "Result":
					st.Result = value
				case "NextElapseUSecRealtime":
					st.Next = value
				}
			}
		}
		out = append(out, st)
	}
	return out, nil
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := logged(ctx, exec.CommandContext(ctx, "systemctl", append([]string{"--no-ask-password"}, args...)...)).CombinedOutput() //nolint:gosec // arguments are ours
	if err != nil {
		return fmt.Errorf("systemctl %s: %s", strings.Join(args, " "), strings.TrimSpace(string(out)+" "+err.Error()))
	}
	return nil
}
