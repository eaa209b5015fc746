// Package configfile replaces bridge.yaml as a whole: a reader sees either the old file or
// the new one, never a part, and a writer that has not seen the newest file cannot replace
// it. The operator's program and the bridge, which is in a container, use the same lock.
package configfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrChanged is returned by Save when the file is no longer the one that was read.
var ErrChanged = errors.New("the file has changed")

// maxSize bounds a file, in bytes.
const maxSize = 4 << 20

// Hash returns a value that identifies the content of a file.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Read returns the content of a file. It is an error if it is not a regular file or too
// large, or if it is a link created by a user other than root: the bridge's container may
// write the directory, and what root reads there must not be a file of the host.
func Read(name string) ([]byte, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a file", name))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxSize)
	}
	return data, err
}

// open opens a file for reading, without waiting for the other end of a pipe.
func open(name string) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	f, err := os.OpenFile(name, flags|syscall.O_NOFOLLOW, 0)
	if !errors.Is(err, syscall.ELOOP) {
		return f, err
	}
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != 0 {
		return nil, fmt.Errorf("%s is a link that root has not made", name)
	}
	return os.OpenFile(name, flags, 0)
}

// Writable returns why this process cannot replace a file, or nil.
func Writable(name string) error {
	dir := filepath.Dir(name)
	if err := syscall.Access(dir, 2); err != nil {
		return &os.PathError{Op: "write", Path: dir, Err: err}
	}
	return nil
}

// Lock makes this process the only one that may replace the file, until unlock is called.
// It waits for a fifth of a second.
func Lock(name string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	for range 10 {
		if err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	if err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("another process changes %s: %w", name, err)
	}
	return func() { _ = dir.Close() }, nil
}

// Save replaces a file if its content still has the hash was, and keeps its mode.
func Save(name, was string, data []byte) (err error) {
	unlock, err := Lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := Read(name)
	if err != nil {
		return err
	}
	if Hash(now) != was {
		return fmt.Errorf("%s: %w", name, ErrChanged)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	// The name is always the same, so that leftovers of a crash are replaced.
	temp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(temp)
		}
	}()
	if err := f.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temp, name)
}
