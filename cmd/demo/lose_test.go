package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Of three backups while nobody talks the shortest pause counts. If none is short enough, the error
// says how long it was, and a backup that does not report its pause fails. Where Docker is slow,
// a pause may be longer.
func TestTheShortestPauseCounts(t *testing.T) {
	const fast, slow = 400 * time.Millisecond, 1100 * time.Millisecond
	for _, c := range []struct {
		restart      time.Duration
		pauses, want string
	}{
		{fast, "1700000000", ""},
		{fast, "2600000000 1400000000", ""},
		{fast, "2600000000 2500000000 2400000000", "a backup while nobody talks stopped the bridge for 2.4s, three times; at most 2s, and Docker restarts its container in 400ms"},
		{fast, "0", "the backup does not say how long the bridge was stopped"},
		{slow, "3200000000", ""},
		{slow, "3500000000 3500000000 3500000000", "at most 3.3s, and Docker restarts its container in 1.1s"},
	} {
		dir := t.TempDir()
		program := filepath.Join(dir, "appliance")
		script := fmt.Sprintf(`#!/bin/sh
cd %s
[ "$2" != verify ] || exit 0
n=$(cat made 2>/dev/null | wc -l); echo again >>made
set -- %s
shift $n
echo "{\"content\":1,\"pause_ns\":$1}"
`, dir, c.pauses)
		if err := os.WriteFile(program, []byte(script), 0o700); err != nil { //nolint:gosec // it is executed
			t.Fatal(err)
		}
		err := loss{newDemo(dir, program)}.idle(t.Context(), filepath.Join(dir, "saved"), "key", c.restart)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.pauses, err, c.want)
		}
	}
}
