package sim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// blobs holds the contents of files and avatars, each written once and synced
// before the journal refers to it: in a directory beside the journal, or in memory.
type blobs struct {
	dir string

	mu  sync.Mutex
	mem map[string][]byte
}

func openBlobs(data string) *blobs {
	b := &blobs{mem: map[string][]byte{}}
	if data != "" {
		b.dir = data + ".files"
	}
	return b
}

func (b *blobs) put(id string, data []byte) error {
	if b.dir == "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.mem[id] = data
		return nil
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, ".new*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = firstError(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return firstError(os.Rename(f.Name(), filepath.Join(b.dir, id)), syncDir(b.dir))
}

// get returns nil when there is no such blob.
func (b *blobs) get(id string) ([]byte, error) {
	if b.dir == "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.mem[id], nil
	}
	data, err := os.ReadFile(filepath.Join(b.dir, filepath.Base(id)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
