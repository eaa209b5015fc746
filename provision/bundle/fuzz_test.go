package bundle_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"appliance/provision/bundle"
)

// FuzzLoad: a file that is not a complete bundle is refused before any request to Docker.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("no tar"))
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "bundle.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := bundle.Load(context.Background(), nil, file, "", quiet)
		if _, ok := errors.AsType[*bundle.DamagedError](err); !ok {
			t.Errorf("it was taken: %v", err)
		}
	})
}
