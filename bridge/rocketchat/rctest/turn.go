package rctest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// takeTurn waits until this test may use the real server at url, and keeps it until the test
// ends: alone, or together with tests that can share it. Tests of other processes take turns
// with those of this one.
//
// There are two locks. A test that wants the server holds the first one while waiting for the
// second, so that a test that has just had the server does not overtake those that wait.
func takeTurn(tb testing.TB, url string, alone bool) {
	tb.Helper()
	if has := turns.take(tb.Name()); has != "" {
		tb.Fatalf("rctest: %s has the real server already, and there is one", has)
	}
	sum := sha256.Sum256([]byte(url))
	name := filepath.Join(os.TempDir(), "rocketchat-tests-"+hex.EncodeToString(sum[:8]))
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	waiting, err := flock(name+".next", syscall.LOCK_EX)
	if err != nil {
		tb.Fatalf("rctest: %v", err)
	}
	turn, err := flock(name+".turn", how)
	if err := errors.Join(err, waiting.Close()); err != nil {
		tb.Fatalf("rctest: %v", err)
	}
	tb.Cleanup(func() {
		_ = turn.Close() // which unlocks it
		turns.give(tb.Name())
	})
}

// turns holds the tests of this process that have the server or wait for it.
var turns holders

type holders struct {
	mu    sync.Mutex
	names map[string]bool
}

// take registers a test, unless it or a test that it is part of is registered
// already: that would wait for itself.
func (h *holders) take(name string) (has string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := range h.names {
		if n == name || strings.HasPrefix(name, n+"/") {
			return n
		}
	}
	if h.names == nil {
		h.names = map[string]bool{}
	}
	h.names[name] = true
	return ""
}

func (h *holders) give(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.names, name)
}

// flock opens a file and locks it. Closing it unlocks it.
func flock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
