package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"appliance/provision/answers"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/stack"
)

// A Purged is what a purge records for a later uninstall: what is left of the
// installation on this host besides CertsDir, BackupsDir and BackupKey.
type Purged struct {
	Images []string `json:"images"` // that its services ran
}

// LeavePurged records that an installation was purged.
func (s *Site) LeavePurged(p Purged) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.Path(PurgedFile), append(data, '\n'), 0o600)
}

// AfterPurge opens what a purge left in dir. It returns an AbsentError if no installation
// was purged there.
func AfterPurge(dir string) (*Site, Purged, error) {
	var p Purged
	data, err := os.ReadFile(filepath.Join(dir, PurgedFile)) //nolint:gosec // below the installation directory
	if err != nil {
		return nil, p, &AbsentError{Dir: dir}
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, p, fmt.Errorf("read %s: %w", filepath.Join(dir, PurgedFile), err)
	}
	s, err := New(dir, answers.Answers{})
	return s, p, err
}

// An OccupiedError says that a directory holds files that belong to no installation.
type OccupiedError struct{ Dir, Found string }

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("%s is not empty: it has %s, and an installation needs a directory of its own", e.Dir, e.Found)
}

// Hint says what to do.
func (e *OccupiedError) Hint() string {
	return "name a directory that is empty or does not exist yet, with --dir"
}

// beforehand are the names that an operator may put into the directory before the first
// installation, and those of a file system's root.
var beforehand = []string{
	plan.AnswersFile, OverrideFile, VersionsFile, stack.ImageLockFile, ".env", "config", "data", "secrets", BackupsDir, BackupKey, "lost+found",
}

// begun are the names that show that an installation is here, or was.
var begun = []string{"manifest.json", "compose.yaml", "secrets", ".lock", stack.MadeFile, PurgedFile, RestoreDir, BackupsDir}

// Vacant returns an *OccupiedError when dir holds files that belong to no installation: a
// purge or an uninstall would remove them one day. A directory in which an installation
// was begun before is never refused.
func Vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(begun, e.Name()) {
			return nil
		}
	}
	for _, e := range entries {
		if !slices.Contains(beforehand, e.Name()) {
			return &OccupiedError{Dir: dir, Found: e.Name()}
		}
	}
	return nil
}
