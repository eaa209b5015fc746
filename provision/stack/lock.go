package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"appliance/provision/internal/atomicfile"
)

const lockName = ".lock"

const (
	// lockedFor is how long Lock retries: Locked in another process holds the lock for a moment.
	lockedFor = 200 * time.Millisecond
	// releasedFor is the same if the process that took the lock has ended: a child of it holds
	// the lock until it executes another program.
	releasedFor = 5 * time.Second
)

// MadeFile marks an installation directory that this program created and may remove.
const MadeFile = ".made"

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
	if err := makeDir(s); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for begun := time.Now(); ; <-time.After(20 * time.Millisecond) {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) { //nolint:gosec // a descriptor fits
			break
		}
		patience := lockedFor
		if gone(f) {
			patience = releasedFor
		}
		if time.Since(begun) > patience {
			break
		}
	}
	if err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		return nil, &LockedError{Dir: s.Dir, Holder: holder(f)}
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%s since %s\n", self(), time.Now().UTC().Format(time.RFC3339))
	return func() { _ = f.Truncate(0); _ = f.Close() }, nil
}

// makeDir creates the installation directory if it is missing, and records that it did.
func makeDir(s *Stack) error {
	_, err := os.Stat(s.Dir)
	missing := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { //nolint:gosec // what is secret in it has modes of its own
		return err
	}
	if !missing {
		return nil
	}
	return atomicfile.Write(s.path(MadeFile), nil, 0o600)
}

// Locked returns a *LockedError while another process changes the installation in dir, because
// a half-done change must not be judged. It changes nothing itself.
func Locked(dir string) error {
	f, err := os.Open(filepath.Join(dir, lockName)) //nolint:gosec // below the installation directory
	if err != nil {
		return nil //nolint:nilerr // nobody has begun, or we may not look
	}
	defer func() { _ = f.Close() }()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) //nolint:gosec // a descriptor fits
	if who := holder(f); errors.Is(err, syscall.EWOULDBLOCK) && !strings.HasPrefix(who, self()+" ") {
		return &LockedError{Dir: dir, Holder: who}
	}
	return nil
}

// gone reports whether the process that wrote into the lock has ended.
func gone(f *os.File) bool {
	var pid int
	_, err := fmt.Sscanf(holder(f), "pid %d", &pid)
	return err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// self is how the lock names this process.
func self() string { return fmt.Sprintf("pid %d", os.Getpid()) }

// holder returns what the process that holds the lock wrote into it.
func holder(f *os.File) string {
	text := make([]byte, 200)
	n, _ := f.ReadAt(text, 0)
	return strings.TrimSpace(string(text[:n]))
}
