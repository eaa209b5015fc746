package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/cmd/appliance/internal/cli"
	"appliance/cmd/internal/manual"
	"appliance/provision/answers"
	"appliance/provision/settings"
)

// testsInSource returns the names of all tests of the repository.
func testsInSource(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A document that names a test which does not exist claims what nothing holds.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	known := testsInSource(t)
	quoted := regexp.MustCompile("`(Test\\w+)`")
	named := 0
	for _, file := range documents(t) {
		for _, m := range quoted.FindAllStringSubmatch(read(t, file), -1) {
			named++
			if !known[m[1]] {
				t.Errorf("%s names %s, which does not exist", filepath.Base(file), m[1])
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d names were found", named)
	}
}

// Every threat of the security document names its defence and the test that makes the attack.
func TestDocumentsNameATestForEveryThreat(t *testing.T) {
	threats, table := 0, ""
	for line := range strings.Lines(read(t, "../../docs/security.md")) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			table = ""
			continue
		}
		if table == "" {
			table = strings.TrimSpace(cells[1])
		}
		if table != "threat" || strings.TrimSpace(cells[1]) == table || strings.Contains(cells[1], "---") {
			continue
		}
		threats++
		if strings.TrimSpace(cells[2]) == "" || !strings.Contains(cells[3], "`Test") {
			t.Errorf("a threat without defence or test: %s", line)
		}
	}
	if threats < 25 {
		t.Errorf("only %d threats were found", threats)
	}
}

// What leaves an installation for its makers is said as it is: Rocket.Chat reports, to the address
// that the checks of a host try, and nothing claims otherwise.
func TestDocumentsSayWhoReportsToWhom(t *testing.T) {
	words := func(file string) string { return strings.Join(strings.Fields(read(t, file)), " ") }
	m := regexp.MustCompile(`allow connections to (collector\S+):443`).FindStringSubmatch(words("../../docs/faults.md")) // which a test writes
	if m == nil {
		t.Fatal("no check of a host tries the collector")
	}
	for file, says := range map[string][]string{
		"../../README.md": {"The program, the bridge and the homeservers report to nobody. Rocket.Chat does: it sends statistics",
			"to `" + m[1] + "`", "becomes read-only about ten days after its last report unless it has a licence, so this installation leaves the report on"},
		"../../docs/closed-networks.md": {"to `" + m[1] + "`", "switching the statistics off is none"},
		"../../docs/troubleshooting.md": {"to `" + m[1] + "`", "Switching the statistics off in Rocket.Chat's settings leads to the same read-only state"},
	} {
		text := words(file)
		for _, want := range says {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say: %s", filepath.Base(file), want)
			}
		}
	}
	claim := regexp.MustCompile(`(?i)(nothing|never|not|no) (calls?|phones?|reports?) home|no telemetry`)
	for _, file := range documents(t) {
		if found := claim.FindString(words(file)); found != "" {
			t.Errorf("%s says %q, and Rocket.Chat does", filepath.Base(file), found)
		}
	}
}

// The README says first what the program is and cannot do, then how to get it, sign in and look
// after it, and leads to every chapter. The demo comes later, and lists of commands are elsewhere.
func TestTheReadmeLeadsEverywhere(t *testing.T) {
	text := read(t, "../../README.md")
	at := 0
	for _, part := range []string{"```\n", "\n## Limits\n", "Encrypted Matrix rooms", "\n## Install\n", "/install.sh | sudo sh\n", "\n    appliance up\n", "\n### A droplet in ten lines\n", "\n### Sign in\n", "\n## Afterwards\n", "\n    make demo\n"} {
		n := strings.Index(text[at:], part)
		if n < 0 {
			t.Errorf("%q is not where it should be", part)
			continue
		}
		at += n
	}
	if n := strings.Index(text, "make demo"); n < strings.Index(text, "\n## Install\n") {
		t.Error("the demo stands before the installation")
	}
	chapters, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(chapters) < 25 {
		t.Fatal(len(chapters), err)
	}
	for _, file := range chapters {
		if !strings.Contains(text, "](docs/"+filepath.Base(file)) {
			t.Errorf("nothing leads to %s", filepath.Base(file))
		}
	}
	for _, chapter := range []string{
		"install.md#a-host-a-name-and-a-firewall", "operate.md#mail-notifications-on-phones-and-the-registration", "scale.md#three-sizes", "proxy.md#caddy",
		"seats.md#with-a-licence", "security.md#every-secret", "moving.md#move-to-another-host", "backup.md#off-this-host", "backup.md#is-it-any-good",
		"upgrade.md#what-goes-with-what", "operate.md#abuse", "contributing.md#contribute", "changelog.md#changes",
	} {
		file, heading, _ := strings.Cut(chapter, "#")
		if !slices.Contains(headings(read(t, "../../docs/"+file)), heading) {
			t.Errorf("there is no chapter %s", chapter)
		}
	}
	if text := read(t, "../../docs/security.md"); !strings.Contains(text, "To report a vulnerability, ") {
		t.Error("security.md does not say how to report a vulnerability")
	}
}

// Links inside the repository lead to files that exist and to headings that they have.
func TestDocumentsLinkToFilesThatExist(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]*)?\)`)
	files, anchors := 0, 0
	for _, file := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			target := file
			if m[1] != "" {
				files++
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", filepath.Base(file), m[1])
				continue
			}
			if m[2] == "" {
				continue
			}
			anchors++
			if !slices.Contains(headings(read(t, target)), m[2][1:]) {
				t.Errorf("%s links to %s%s, a heading that does not exist", filepath.Base(file), m[1], m[2])
			}
		}
	}
	t.Logf("%d links to files, %d anchors", files, anchors)
	if files < 80 || anchors < 10 {
		t.Errorf("only %d links and %d anchors were found", files, anchors)
	}
}

// Every command that a document shows exists, with its flags, arguments and answers. One that a
// sentence or a table names may lack arguments. None is run.
func TestDocumentsShowCommandsThatExist(t *testing.T) {
	shown, named := 0, 0
	for _, file := range documents(t) {
		for _, line := range manual.Commands(read(t, file)) {
			shown++
			if err := understood(line, true); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(file), line, err)
			}
		}
		for _, line := range commandsNamed(read(t, file)) {
			named++
			if err := understood(line, false); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(file), line, err)
			}
		}
	}
	t.Logf("%d commands in code blocks, %d in sentences and tables", shown, named)
	if shown < 80 || named < 100 {
		t.Errorf("only %d and %d commands were found", shown, named)
	}
}

// The check above finds what is wrong.
func TestDocumentsThatAreWrongAreFound(t *testing.T) {
	text := "`not appliance up --here`\n\n    sudo appliance upp\n\n```\n$ appliance up --answer x && appliance status --wach\n```\n"
	found := manual.Commands(text)
	if want := []string{"appliance upp", "appliance up --answer x", "appliance status --wach"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	wrong := append(found, "appliance queue ded", "appliance restore", "appliance up now", "appliance up --set colour=red",
		"appliance config set bridge.colour=red", "appliance config get colour", "appliance backup --keep many", "appliance up --patience soon")
	for _, line := range wrong {
		if understood(line, true) == nil {
			t.Errorf("%s: was taken", line)
		}
	}
	if found := commandsNamed(text + "See `appliance up --dry-run`, not `up`.\n"); !slices.Equal(found, []string{"appliance up --dry-run"}) {
		t.Errorf("named are %q", found)
	}
	if understood("appliance restore", false) != nil || understood("appliance restore --onto", false) == nil {
		t.Error("what a sentence names is not checked as it should be")
	}
	for _, line := range []string{"appliance up -y --set domain=chat.example.org", "appliance config set 'bridge.servers.allow=*.example.org'", "appliance backup >file", "appliance completion bash"} {
		if err := understood(line, true); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if got := headings("# A `b.c` and D-e_f\n```\n# not one\n```\n## Twice!\n## Twice\n"); !slices.Equal(got, []string{"a-bc-and-d-e_f", "twice", "twice-1"}) {
		t.Errorf("headings %q", got)
	}
}

// documents are the files of the manual.
func documents(t *testing.T) []string {
	t.Helper()
	found, err := manual.Documents("../..")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// headings are the anchors of a document, as code hosts make them.
func headings(text string) []string {
	_, prose := manual.Code(text)
	var out []string
	seen := map[string]int{}
	for _, line := range prose {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		seen[anchor]++
		if n := seen[anchor]; n > 1 {
			anchor += fmt.Sprintf("-%d", n-1)
		}
		out = append(out, anchor)
	}
	return out
}

// commandsNamed are the commands of this program that sentences and tables name.
func commandsNamed(text string) (out []string) {
	_, prose := manual.Code(text)
	for _, line := range prose {
		for _, m := range quotedCommand.FindAllStringSubmatch(line, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

var quotedCommand = regexp.MustCompile("`(?:sudo )?(appliance [^`]+)`")

// understood returns why the program would not take a command, which is complete or lacks
// arguments.
func understood(line string, complete bool) error {
	var words []string
	for _, w := range strings.Fields(line)[1:] {
		if strings.HasPrefix(w, ">") {
			break
		}
		words = append(words, strings.Trim(w, "'"))
	}
	root := cli.Tree()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(words...)
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return err
	}
	args := cmd.Flags().Args()
	if err := cmd.ValidateArgs(args); err != nil && (complete || cmd.HasSubCommands()) {
		return err
	}
	keys := args
	if cmd.Parent() == nil || cmd.Parent().Name() != "config" {
		keys = nil
	}
	if set, err := cmd.Flags().GetStringArray("set"); err == nil {
		keys = append(keys, set...)
	}
	for _, k := range keys {
		if k, _, _ = strings.Cut(k, "="); !isKey(k) && k != "KEY" {
			return fmt.Errorf("there is no key %s", k)
		}
	}
	return nil
}

// isKey says whether name is an answer or a live key of the bridge.
func isKey(name string) bool {
	if live, ok := strings.CutPrefix(name, settings.LivePrefix); ok {
		file, _ := yaml.Marshal(config.Live{})
		var at any
		_ = yaml.Unmarshal(file, &at)
		for key := range strings.SplitSeq(live, ".") {
			section, _ := at.(map[string]any)
			if at, ok = section[key]; !ok {
				return false
			}
		}
		return true
	}
	key, _, _ := strings.Cut(name, ".") // one setting of Rocket.Chat
	return slices.ContainsFunc(answers.Fields, func(f answers.Field) bool {
		return f.Key == name || f.Kind == answers.Settings && f.Key == key
	})
}
