package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A FullDiskError says that no certificate was requested, because it could not have been
// stored: every certificate that is issued counts, and authorities issue only a few of the same
// in a week.
type FullDiskError struct {
	Host, Dir string
	Cause     error
}

func (e *FullDiskError) Error() string {
	return fmt.Sprintf("no certificate for %s: %s is full, so the authority was not asked: %s", e.Host, e.Dir, e.Cause)
}

func (e *FullDiskError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *FullDiskError) Hint() string {
	return "free some space; the renewal is retried automatically. See: df -h " + e.Dir
}

// size is more than an account, a challenge and a certificate need.
const size = 64 << 10

// room returns an error unless size more bytes can be stored in dir.
func room(dir string) error {
	if err := mkdir(dir); err != nil {
		return err
	}
	name := filepath.Join(dir, ".room")
	err := os.WriteFile(name, make([]byte, size), 0o600) //nolint:forbidigo // measures the room and is removed at once
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err // the name of that file is of no interest
	}
	return errors.Join(err, ignoreAbsent(os.Remove(name)))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
