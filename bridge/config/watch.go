package config

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must be left alone before it is read: editors write
// in several steps.
const settle = 100 * time.Millisecond

// mounted is the link that Kubernetes replaces when a ConfigMap or a Secret has changed.
const mounted = "..data"

// Watch calls changed after the file was written, replaced or removed, once per burst of
// changes, until ctx ends. It watches the directory, because editors and atomic writers
// replace the file with a new one. If the file is a link into a directory that is
// replaced as a whole, as when Kubernetes mounts a ConfigMap, that counts too.
func Watch(ctx context.Context, name string, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", name, err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Add(filepath.Dir(name)); err != nil {
		return fmt.Errorf("watch %s: %w", name, err)
	}
	timer := time.NewTimer(0)
	if !timer.Stop() {
		<-timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if at := filepath.Clean(e.Name); (at == filepath.Clean(name) || filepath.Base(at) == mounted) && e.Op != fsnotify.Chmod {
				timer.Reset(settle)
			}
		case err := <-w.Errors:
			return fmt.Errorf("watch %s: %w", name, err)
		case <-timer.C:
			changed()
		}
	}
}
