package provision_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"appliance/provision/finding"
)

// A fault is a problem of a host, an installation or an archive, caused on purpose.
// inflict causes it and returns a function that does what the hint says.
type fault struct {
	what    string
	by      string // the check or the command that finds it
	inflict func() (repair func())
	says    string // the beginning of the message
	hint    string // a part of the hint
}

// A verdict is the result of a check or a command.
type verdict struct{ severity, says, why, hint string }

// TestFaults breaks one thing at a time: the finding must name the cause and what
// to do, and once that is done all must be well. The findings are documented in
// docs/faults.md, which UPDATE_GOLDEN=1 rewrites.
func TestFaults(t *testing.T) {
	var doc strings.Builder
	doc.WriteString("# Faults, and what the program says about them\n\n" +
		"Every row is a test: the fault is caused, detected, fixed as the hint says, and gone afterwards\n" +
		"(`go test ./provision -run TestFaults`, which also writes this page with `UPDATE_GOLDEN=1`).\n")
	n := 0
	for _, part := range []struct {
		title string
		world func(*testing.T) world
		alone bool // it sets environment variables
	}{
		{"Before installing: `appliance up`", newHost, false},
		{"On a running installation: `appliance doctor`", newInstallation, false},
		{"With a homeserver and a Rocket.Chat that were there before: `appliance doctor`, and `appliance up` before it changes anything", newOwned, false},
		{"In a command", newCommands, true},
	} {
		fmt.Fprintf(&doc, "\n## %s\n\n| fault | found by | | what is said | why | what to do |\n|---|---|---|---|---|---|\n", part.title)
		var names []string
		t.Run("all is well", func(t *testing.T) {
			for _, f := range part.world(t).faults() {
				names = append(names, f.what)
			}
		})
		rows := make([]string, len(names))
		t.Run("fault", func(t *testing.T) { // returns when all have been tried
			for i, name := range names {
				t.Run(name, func(t *testing.T) {
					if !part.alone {
						t.Parallel()
					}
					rows[i] = try(t, part.world(t), name) // a new world for each: nothing is left over
				})
			}
		})
		n += len(names)
		doc.WriteString(strings.Join(rows, ""))
	}
	if n < 40 {
		t.Errorf("only %d faults", n)
	}
	if !t.Failed() {
		golden(t, "../docs/faults.md", doc.String())
	}
}

// try causes a fault in a world, detects and repairs it, and returns its row of the document.
func try(t *testing.T, w world, name string) string {
	t.Helper()
	f := same(t, w.faults(), name)
	if v, bad := w.look(f.by); bad {
		t.Fatalf("it is ill before anything is broken: %+v", v)
	}
	repair := f.inflict()
	v, bad := w.look(f.by)
	if !bad || !strings.HasPrefix(v.says, f.says) || !strings.Contains(v.hint, f.hint) {
		t.Fatalf("found %+v\nwant %q with a hint of %q", v, f.says, f.hint)
	}
	repair()
	if after, bad := w.look(f.by); bad {
		t.Errorf("after the repair: %+v", after)
	}
	return fmt.Sprintf("| %s | `%s` | %s | %s | %s | %s |\n", f.what, f.by, v.severity, cell(w, v.says), cell(w, v.why), cell(w, v.hint))
}

// A world is a place where faults can be caused.
type world interface {
	faults() []fault
	look(by string) (v verdict, bad bool)
	plain(text string) string // without what differs from run to run
}

func same(t *testing.T, list []fault, what string) fault {
	t.Helper()
	for _, f := range list {
		if f.what == what {
			return f
		}
	}
	t.Fatalf("no fault %q", what)
	return fault{}
}

func cell(w world, text string) string {
	text, _, _ = strings.Cut(w.plain(text), "\n")
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
}

// judge turns findings into the verdict of one check.
func judge(findings []finding.Finding, by string) (verdict, bool) {
	for _, f := range findings {
		if f.Check == by {
			return verdict{f.Severity.String(), f.Summary, f.Why, f.Fix}, f.Severity > finding.OK
		}
	}
	return verdict{says: "there is no check " + by}, false
}

// blame turns an error into a verdict.
func blame(err error) (verdict, bool) {
	if err == nil {
		return verdict{}, false
	}
	var hinted interface{ Hint() string }
	hint := ""
	if errors.As(err, &hinted) {
		hint = hinted.Hint()
	}
	return verdict{"fail", err.Error(), "", hint}, true
}

func golden(t *testing.T, name, want string) {
	t.Helper()
	have, err := os.ReadFile(name)
	if err == nil && string(have) == want {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Errorf("%s is not what the tests say; run: UPDATE_GOLDEN=1 go test ./provision -run TestFaults (%v)", name, cmp.Or(err, differing(string(have), want)))
		return
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// differing returns an error with the first line in which two texts differ.
func differing(have, want string) error {
	old := strings.Split(have, "\n")
	for n, line := range strings.Split(want, "\n") {
		if n >= len(old) || old[n] != line {
			return fmt.Errorf("line %d is %q, and the test says %q", n+1, strings.Join(old[min(n, len(old)):min(n+1, len(old))], ""), line)
		}
	}
	return fmt.Errorf("it has %d lines, and the test says fewer", len(old))
}

// set changes a value and returns a function that restores it.
func set[T any](at *T, value T) func() {
	was := *at
	*at = value
	return func() { *at = was }
}
