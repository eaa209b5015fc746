package stack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/render"
)

// MakeDirs makes the directories that are missing. One that exists keeps its
// mode and owner.
func (s *Stack) MakeDirs(dirs []render.Dir) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { //nolint:gosec // what is secret in it has modes of its own
		return err
	}
	for _, d := range dirs {
		if _, err := os.Stat(s.path(d.Path)); err == nil {
			continue
		}
		if err := atomicfile.Mkdir(s.path(d.Path), d.Mode, d.User, d.User); err != nil {
			return err
		}
	}
	return nil
}

// WriteFiles puts files in place, each in one step.
func (s *Stack) WriteFiles(files render.Files, paths []string) error {
	for _, p := range paths {
		f := files[p]
		if err := atomicfile.WriteOwned(s.path(p), f.Data, f.Mode, f.UID, f.GID); err != nil {
			return fmt.Errorf("write %s: %w", s.path(p), err)
		}
	}
	return nil
}

// SaveManifest remembers what was written, and under which name it runs.
func (s *Stack) SaveManifest(m plan.Manifest) error {
	m.Project = s.Project
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(s.path("manifest.json"), append(data, '\n'), 0o600)
}

// Purge removes the installation but for its certificates, which authorities do
// not give out again and again, and its backups.
func (s *Stack) Purge() error {
	return RemoveBut(s.Dir, s.path("data/certs"), s.path("backups"), s.path(lockName))
}

// RemoveBut removes what is in a directory except the kept paths and the
// directories above them.
func RemoveBut(dir string, kept ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		above := func(k string) bool { return strings.HasPrefix(k, name+string(filepath.Separator)) }
		switch {
		case slices.Contains(kept, name):
			continue
		case e.IsDir() && slices.ContainsFunc(kept, above):
			err = RemoveBut(name, kept...)
		default:
			err = os.RemoveAll(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
