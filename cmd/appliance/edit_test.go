package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An edit that cannot be used is reported and opened again as it was left, as visudo does;
// Enter means yes. A usable one is applied.
func TestAnEditThatCannotBeUsedIsEditedAgain(t *testing.T) {
	t.Parallel()
	w := installed(t)
	w.write("editor", `#!/bin/sh
if grep -q '^admin_email: half' "$1"; then
	sed -i 's/^admin_email: .*/admin_email: chief@example.test/' "$1"
else
	sed -i 's/^admin_email: .*/admin_email: half/' "$1"
fi
`)
	if err := os.Chmod(filepath.Join(w.dir, "editor"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	w.env = append(w.env, "EDITOR="+filepath.Join(w.dir, "editor"))
	term := w.sit("config", "edit", "--dir", "appliance", "--patience", "0s")
	if screen := term.wait("Edit it again?"); !strings.Contains(screen, "admin_email: ") {
		t.Errorf("it does not say what is wrong:\n%s", screen)
	}
	term.enter("\r")
	term.wait("Go on?")
	term.enter("\r")
	term.end()
	if status := term.status(); status != 0 {
		t.Errorf("exit status %d\n%s", status, term.text())
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "appliance", "appliance.yaml"))
	if err != nil || !strings.Contains(string(data), "\nadmin_email: chief@example.test\n") {
		t.Errorf("the answers are not as edited: %v\n%s", err, data)
	}
}
