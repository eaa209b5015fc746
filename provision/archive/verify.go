package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"appliance/provision/backup"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// Verify reads a backup from its beginning to its end.
func Verify(ctx context.Context, file string, k backup.Keys, r plan.Reporter) (h backup.Header, m backup.Manifest, err error) {
	err = plan.Track(r, plan.Step{ID: "verify", Title: "verify " + file}, func() error {
		return readBackup(file, k, r, "verify", func(in *backup.Reader) error {
			h = in.Header
			m, err = in.Verify(ctx)
			return err
		})
	})
	return h, m, err
}

// A MissingError says that a backup file does not exist.
type MissingError struct{ File string }

func (e *MissingError) Error() string { return "there is no file " + e.File }

// Hint says where backups are.
func (e *MissingError) Hint() string {
	dir := filepath.Dir(e.File)
	return "see which files are there with: ls " + site.Quoted(dir) + "; and which backups are off this host: appliance backup list"
}

func readBackup(file string, k backup.Keys, r plan.Reporter, step string, do func(*backup.Reader) error) error {
	f, err := os.Open(file) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) {
		return &MissingError{File: file}
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var shown time.Time
	in, err := backup.Open(f, k, func(n int64) {
		if now := time.Now(); now.Sub(shown) > 200*time.Millisecond {
			shown = now
			r.Progress(step, fmt.Sprintf("%.1f MB", float64(n)/1e6), n, 0)
		}
	})
	if err != nil {
		return err
	}
	defer in.Close()
	return do(in)
}
