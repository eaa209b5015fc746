package archive

import (
	"context"
	"fmt"
	"os"
	"time"

	"appliance/provision/backup"
	"appliance/provision/plan"
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

func readBackup(file string, k backup.Keys, r plan.Reporter, step string, do func(*backup.Reader) error) error {
	f, err := os.Open(file) //nolint:gosec // the operator names the file
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
