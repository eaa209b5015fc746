package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/config"
	"appliance/cmd/appliance/internal/cli"
	"appliance/provision/answers"
)

// TestTheManualTellsTheTruth keeps the tables of docs/answers.md, docs/commands.md and
// docs/live-keys.md equal to what the program does. UPDATE_GOLDEN=1 rewrites them.
func TestTheManualTellsTheTruth(t *testing.T) {
	generated(t, "../../docs/answers.md", "answers", answersTable())
	generated(t, "../../docs/live-keys.md", "live keys", liveKeysTable())
	generated(t, "../../docs/commands.md", "commands", commandsTable(t))
	generated(t, "../../docs/commands.md", "status", statusTable(t))
}

// generated checks one generated section of a document, or rewrites it.
func generated(t *testing.T, file, place, text string) {
	t.Helper()
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, have, place, text)
	if bytes.Equal(have, want) {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Errorf("%s does not say what the program does (%s); run: UPDATE_GOLDEN=1 go test ./cmd/appliance", file, place)
		return
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
		case f.Required && f.If != nil:
			def = "**required** then"
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

func liveKeysTable() string {
	var b strings.Builder
	b.WriteString("| live key | default | meaning |\n|---|---|---|\n")
	def := config.Default().Live.Texts()
	for _, k := range config.LiveKeys() {
		value := strings.ReplaceAll(def[k.Name], "\n", ", ")
		if value != "" {
			value = "`" + value + "`"
		}
		help := k.Help
		if len(k.Choices) > 0 {
			help += " One of `" + strings.Join(k.Choices, "`, `") + "`."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, value, strings.ReplaceAll(help, " * ", " `*` "))
	}
	return b.String()
}

// statusTable reads the statuses from the program's own help.
func statusTable(t *testing.T) string {
	t.Helper()
	var help bytes.Buffer
	if status := cli.Run(t.Context(), cli.Env{Args: []string{"help", "exit-status"}, Stdout: &help, Stderr: &help}); status != 0 {
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

// between replaces what is between the two markers of a name with table.
func between(t *testing.T, text []byte, name, table string) []byte {
	t.Helper()
	begin, end := []byte("<!-- "+name+": begin"), []byte("<!-- "+name+": end -->")
	i, j := bytes.Index(text, begin), bytes.Index(text, end)
	if i < 0 || j < i {
		t.Fatalf("the document has no place for %s", name)
	}
	i += bytes.IndexByte(text[i:], '\n') + 1
	return bytes.Join([][]byte{text[:i], []byte(table), text[j:]}, nil)
}

// commandsTable lists every command with its flags, as in its help.
func commandsTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| command | what it does | flags |\n|---|---|---|\n")
	leaves(t, nil, "", func(use, short string, flags []string) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", use, short, strings.Join(flags, " "))
	})
	return b.String()
}

// leaves walks the commands below path by reading their help.
func leaves(t *testing.T, path []string, short string, leaf func(use, short string, flags []string)) {
	t.Helper()
	if len(path) > 4 {
		t.Fatalf("%v: a list in its help is taken for commands", path)
	}
	var out bytes.Buffer
	if status := cli.Run(t.Context(), cli.Env{Args: append(slices.Clone(path), "--help"), Stdout: &out, Stderr: &out}); status != 0 {
		t.Fatalf("%v --help: status %d", path, status)
	}
	help := out.String()
	names := firstWords(listed(help))
	_, own, _ := strings.Cut(section(help, "Usage:"), "appliance")
	use, _, _ := strings.Cut(strings.TrimSpace(own), "\n")
	if len(path) > 0 && (len(names) == 0 || strings.Contains(help, "[command]") && len(firstWords(section(help, "Flags:"))) > 1) {
		var flags []string
		for _, f := range firstWords(section(help, "Flags:")) {
			if f = strings.TrimSuffix(f, ","); f != "-h" && f != "--help" {
				flags = append(flags, "`"+f+"`")
			}
		}
		leaf("appliance "+strings.TrimSuffix(use, " [flags]"), short, flags)
	}
	for _, name := range names {
		if name != "help" && name != "completion" {
			_, about, _ := strings.Cut("\n"+listed(help), "\n  "+name+" ")
			about, _, _ = strings.Cut(about, "\n")
			leaves(t, append(slices.Clone(path), name), strings.TrimSpace(about), leaf)
		}
	}
}

// listed returns the commands in a help page, of all groups.
func listed(help string) string {
	var out strings.Builder
	title := ""
	for line := range strings.Lines(help) {
		switch {
		case !strings.HasPrefix(line, " "):
			title = strings.TrimSpace(line)
		case strings.HasSuffix(title, ":") && !slices.Contains([]string{"Usage:", "Aliases:", "Examples:", "Flags:", "Global Flags:", "Additional help topics:"}, title):
			out.WriteString(line)
		}
	}
	return out.String()
}

// section returns the indented text below a title of a help page.
func section(help, title string) string {
	_, rest, _ := strings.Cut(help, "\n"+title+"\n")
	text, _, _ := strings.Cut(rest, "\n\n")
	return text
}

// firstWords returns the names in a list; for a flag, its long name.
func firstWords(list string) []string {
	var out []string
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && strings.HasPrefix(f[0], "-") && strings.HasSuffix(f[0], ",") && strings.HasPrefix(f[1], "--"):
			out = append(out, f[1])
		case len(f) > 0 && !strings.HasPrefix(line, "            "):
			out = append(out, f[0])
		}
	}
	return out
}
