package stack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What Compose itself refuses in compose.override.yaml is reported with its line.
func TestAnOverrideThatComposeRefusesIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	s := onThisMachine(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(s.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("compose.yaml", "services:\n  nginx:\n    image: nginx\n")
	for _, one := range []struct {
		what, text string
		line       int
	}{
		{"not YAML", "services:\n  nginx:\n    ports: [\n", 3},
		{"a key that Compose does not know", "services:\n  nginx:\n    imag: x\n", 3},
		{"a value of the wrong kind", "services:\n  nginx:\n    init: true\n    ports: 7\n", 4},
		{"a size that is none", "services:\n  nginx:\n    mem_limit: lots\n", 3},
		{"a service that does not exist", "# mine\nservices:\n  ngnix:\n    mem_limit: 5m\n", 3},
		{"a key at the top", "\nservice: {}\n", 2},
	} {
		write(overrideName, one.text)
		e, ok := errors.AsType[*OverrideError](s.Compose().CheckOverride(t.Context()))
		if !ok || e.Line != one.line {
			t.Errorf("%s: %+v, want line %d", one.what, e, one.line)
		}
	}
	write(overrideName, "services:\n  nginx:\n    mem_limit: 64m\n")
	if err := s.Compose().CheckOverride(t.Context()); err != nil {
		t.Errorf("a good one: %v", err)
	}
}
