package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/rocketchat/rctest"
)

// A second bridge on the same SQLite file exits at once, and says what to do; the first
// one goes on.
func TestASecondBridgeOnAnSQLiteFileEndsAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said bytes.Buffer
	second := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // this test binary
	second.Env = append(os.Environ(), bridgeProcess+"="+filepath.Join(w.dir, "bridge.yaml"))
	second.Stderr = &said
	var exit *exec.ExitError
	if err := second.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the second bridge ended with %v", err)
	}
	for _, want := range []string{filepath.Join(w.dir, "bridge.db"), "in use by another process", "stop it first", "postgres://"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it does not say %q but\n%s", want, said.String())
		}
	}
	room, mxRoom, bob := w.bridged()
	bob.Send(mxRoom, "is the first one there?")
	w.rc.WaitFor(t, room, "is the first one there?")
}
