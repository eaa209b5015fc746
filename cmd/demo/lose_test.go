package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Of three backups while nobody talks the shortest pause counts. If none is short enough, the error
// says how long it was, and a backup that does not report its pause fails.
func TestTheShortestPauseCounts(t *testing.T) {
	for pauses, want := range map[string]string{
		"1700000000":                       "",
		"2600000000 1400000000":            "",
		"2600000000 2500000000 2400000000": "a backup while nobody talks stopped the bridge for 2.4s, three times; at most 2s",
		"0":                                "the backup does not say how long the bridge was stopped",
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
`, dir, pauses)
		if err := os.WriteFile(program, []byte(script), 0o700); err != nil { //nolint:gosec // it is executed
			t.Fatal(err)
		}
		err := loss{newDemo(dir, program)}.idle(t.Context(), filepath.Join(dir, "saved"), "key")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", pauses, err, want)
		}
	}
}
