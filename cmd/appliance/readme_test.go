package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"appliance/cmd/appliance/internal/cli"
	"appliance/provision/answers"
)

// TestTheManualTellsTheTruth keeps the tables of README.md equal to what the
// program does. UPDATE_GOLDEN=1 rewrites them.
func TestTheManualTellsTheTruth(t *testing.T) {
	const file = "../../README.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, text, "answers", answersTable())
	want = between(t, want, "status", statusTable(t))
	if bytes.Equal(text, want) {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Fatal("README.md does not say what the program does; run: UPDATE_GOLDEN=1 go test ./cmd/appliance")
	}
	if err := os.WriteFile(file, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

func answersTable() string {
	var b strings.Builder
	b.WriteString("| answer | default | meaning |\n|---|---|---|\n")
	for _, f := range answers.Fields {
		def := f.Default
		switch {
		case f.Required:
			def = "**required**"
		case def != "":
			def = "`" + def + "`"
		}
		help := f.Help
		if f.Permanent {
			help += " *Permanent.*"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Key, def, help)
	}
	return b.String()
}

// statusTable reads the statuses from the program's own help.
func statusTable(t *testing.T) string {
	t.Helper()
	var help bytes.Buffer
	if status := cli.Run(t.Context(), cli.Env{Args: []string{"--help"}, Stdout: &help, Stderr: &help}); status != 0 {
		t.Fatalf("--help: status %d", status)
	}
	_, list, ok := strings.Cut(help.String(), "Exit status:\n")
	if !ok {
		t.Fatal("the help names no exit statuses")
	}
	var b strings.Builder
	b.WriteString("| status | meaning |\n|---|---|\n")
	for l := range strings.Lines(list) {
		code, meaning, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok {
			break
		}
		fmt.Fprintf(&b, "| %s | %s |\n", code, strings.TrimSpace(meaning))
	}
	return b.String()
}

// between puts table between the two markers of a name.
func between(t *testing.T, text []byte, name, table string) []byte {
	t.Helper()
	begin, end := []byte("<!-- "+name+": begin"), []byte("<!-- "+name+": end -->")
	i, j := bytes.Index(text, begin), bytes.Index(text, end)
	if i < 0 || j < i {
		t.Fatalf("README.md has no place for %s", name)
	}
	i += bytes.IndexByte(text[i:], '\n') + 1
	return bytes.Join([][]byte{text[:i], []byte(table), text[j:]}, nil)
}
