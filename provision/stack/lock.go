package stack

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

const lockName = ".lock"

// A LockedError says that another process is changing the installation.
type LockedError struct {
	Dir    string
	Holder string // "pid 812 since 2026-01-02T03:04:05Z"
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("another appliance process is changing %s (%s)", e.Dir, e.Holder)
}

// Hint says what to do.
func (e *LockedError) Hint() string { return "wait until it is done, then run this again" }

// Lock makes this process the only one that changes the installation. The
// kernel releases the lock when the process ends, however it ends.
func (s *Stack) Lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { //nolint:gosec // what is secret in it has modes of its own
		return nil, err
	}
	f, err := os.OpenFile(s.path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		defer func() { _ = f.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		holder := make([]byte, 200)
		n, _ := f.Read(holder)
		return nil, &LockedError{Dir: s.Dir, Holder: strings.TrimSpace(string(holder[:n]))}
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "pid %d since %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	return func() { _ = f.Truncate(0); _ = f.Close() }, nil
}
