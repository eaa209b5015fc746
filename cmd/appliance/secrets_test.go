package main

import (
	"os"
	"strings"
	"testing"

	"appliance/provision/rotate"
	"appliance/provision/secrets"
)

// The manual says for every secret what it protects and how it is replaced, and names no
// secret that does not exist.
func TestTheManualNamesEverySecret(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := secrets.Prepare(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## Every secret\n")
	table, _, _ := strings.Cut(rest, "\n## ")
	named := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 4 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		name := strings.Trim(strings.TrimSpace(cells[1]), "`")
		named[name] = true
		if _, exists := set[secrets.Name(name)]; !exists {
			t.Errorf("there is no secret %s", name)
		}
		if how := "`appliance secrets rotate " + rotate.KeyOf(secrets.Name(name)) + "`"; !strings.Contains(cells[3], how) && secrets.Name(name) != secrets.MatrixKey {
			t.Errorf("%s is replaced by %s, and the manual says: %s", name, how, cells[3])
		}
	}
	for _, key := range rotate.Keys() {
		if !strings.Contains(table, "`appliance secrets rotate "+key+"`") {
			t.Errorf("docs/security.md does not say that %s can be replaced", key)
		}
	}
	for name := range set {
		if !named[string(name)] {
			t.Errorf("docs/security.md says nothing about the secret %s", name)
		}
	}
}
