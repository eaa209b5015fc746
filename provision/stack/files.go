package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/render"
)

// MakeDirs creates the missing directories. Existing ones keep their mode and owner.
func (s Tree) MakeDirs(dirs []render.Dir) error {
	if err := os.MkdirAll(s.stack.Dir, 0o755); err != nil { //nolint:gosec // what is secret in it has modes of its own
		return err
	}
	for _, d := range dirs {
		if s.has(d) {
			continue
		}
		if err := atomicfile.Mkdir(s.stack.path(d.Path), d.Mode, d.User, d.User); err != nil {
			return err
		}
	}
	return nil
}

// Write puts files in place, each atomically.
func (s Tree) Write(files render.Files, paths []string) error {
	for _, p := range paths {
		f := files[p]
		if err := atomicfile.WriteOwned(s.stack.path(p), f.Data, f.Mode, f.UID, f.GID); err != nil {
			return fmt.Errorf("write %s: %w", s.stack.path(p), err)
		}
	}
	return nil
}

// SaveManifest records what was written, and the name of the Compose project.
func (s Tree) SaveManifest(m plan.Manifest) error {
	m.Project = s.stack.Project
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(s.stack.path("manifest.json"), append(data, '\n'), 0o600)
}

// Purge removes the installation except for its backups, a file with a note about it, and its
// certificates, which authorities reissue only so often.
func (s Tree) Purge(note string) error {
	return RemoveBut(s.stack.Dir, s.stack.path(note), s.stack.path("data/certs"), s.stack.path("backups"), s.stack.path("backup.key"), s.stack.path(lockName), s.stack.path(MadeFile))
}

// RemoveBut removes the content of a directory except the kept paths and the directories above
// them.
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

func (s Tree) missingDirs(dirs []render.Dir) []string {
	var out []string
	for _, d := range dirs {
		if !s.has(d) {
			out = append(out, d.Path)
		}
	}
	return out
}

// has reports whether a directory exists. An empty one owned by root instead of its user does
// not count: Docker creates it when it starts a container whose files were deleted.
func (s Tree) has(d render.Dir) bool {
	info, err := os.Stat(s.stack.path(d.Path))
	if err != nil || !info.IsDir() {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid != 0 || d.User == 0 || os.Geteuid() != 0 {
		return true
	}
	entries, err := os.ReadDir(s.stack.path(d.Path))
	return err != nil || len(entries) > 0
}

func (s Tree) disk(files render.Files) (map[string]plan.Disk, error) {
	out := map[string]plan.Disk{}
	for path, want := range files {
		name := s.stack.path(path)
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(name) //nolint:gosec // below the installation directory
		if err != nil {
			return nil, err
		}
		d := plan.Disk{Exists: true, File: render.File{Mode: info.Mode().Perm(), UID: want.UID, GID: want.GID, Data: data}}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
			d.UID, d.GID = int(owner.Uid), int(owner.Gid)
		}
		out[path] = d
	}
	return out, nil
}

// Manifest reads the record of what was written last time; it is empty on a new host.
func (s Tree) Manifest() (plan.Manifest, error) {
	m := plan.Manifest{Version: plan.ManifestVersion, Files: map[string]plan.Record{}, Permanent: map[string]string{}}
	data, err := os.ReadFile(s.stack.path("manifest.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return m, &ManifestError{File: s.stack.path("manifest.json"), Cause: err}
	}
	if m.Version > plan.ManifestVersion {
		return m, &NewerError{File: s.stack.path("manifest.json"), Format: m.Version}
	}
	return m, nil
}

// A NewerError says that a newer release of this program has changed the installation.
type NewerError struct {
	File   string
	Format int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("a newer release of this program made the installation: %s has format %d, and this release knows %d", e.File, e.Format, plan.ManifestVersion)
}

// Hint says what to do.
func (e *NewerError) Hint() string {
	return "use that release; this one is shown by: appliance version; see: appliance self-update --help"
}

// A ManifestError says that the record of the written files cannot be read.
type ManifestError struct {
	File  string
	Cause error
}

func (e *ManifestError) Error() string { return e.File + " cannot be used: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *ManifestError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *ManifestError) Hint() string {
	return "put it back from a backup; or have it rewritten, which accepts the files as they are: rm " + Quoted(e.File) + " && appliance up --accept-edits"
}
