package archive

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// A ReturnPoint is the backup to which an upgrade in progress can be rolled back. Its file
// exists from the end of that backup to the end of the upgrade.
type ReturnPoint struct {
	Backup string    `json:"backup"` // the file
	Began  time.Time `json:"began"`
}

// ReadReturnPoint returns the point of the upgrade in progress; fs.ErrNotExist if there is none.
func ReadReturnPoint(s *site.Site) (ReturnPoint, error) {
	var at ReturnPoint
	data, err := os.ReadFile(s.Path(site.UpgradeFile))
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	return at, err
}

// Write marks an upgrade as the one in progress.
func (at ReturnPoint) Write(s *site.Site) error {
	data, err := json.Marshal(at)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.Path(site.UpgradeFile), data, 0o600)
}

// Unpack verifies the backup and unpacks it beside the present files.
func (at ReturnPoint) Unpack(ctx context.Context, s *site.Site, r plan.Reporter) error {
	return plan.Track(r, plan.Step{ID: "unpack", Title: "unpack " + at.Backup}, func() error {
		keys, err := OwnKeys(s.Dir)
		if err != nil {
			return err
		}
		return unpack(ctx, s.Dir, RestoreOptions{File: at.Backup, Keys: keys, Links: true}, r)
	})
}

// UnpackDump unpacks the dump of one database to where LoadDatabases finds it.
func (at ReturnPoint) UnpackDump(ctx context.Context, s *site.Site, name string, r plan.Reporter) error {
	if err := at.Unpack(ctx, s, r); err != nil {
		return err
	}
	for _, other := range Dumps(s.Dir) {
		if other != name {
			if err := os.Remove(filepath.Join(restoredDumps(s.Dir), other)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(restoredFiles(s.Dir))
}

// PutBack replaces the files of an installation with those that Unpack unpacked.
func PutBack(s *site.Site) error {
	stay := append(kept(s.Dir), s.Path(site.RestoreDir), s.Path(site.UpgradeFile))
	return errors.Join(stack.RemoveBut(s.Dir, stay...), place(s.Dir))
}

// An InterruptedError says that an upgrade was interrupted.
type InterruptedError struct{ Dir string }

func (e *InterruptedError) Error() string { return "an upgrade of " + e.Dir + " was interrupted" }

// Hint says what to do.
func (e *InterruptedError) Hint() string {
	return "continue with: appliance upgrade; or go back with: appliance upgrade --rollback"
}
