package ui

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"appliance/provision"
	"appliance/provision/finding"
	"appliance/provision/plan"
)

// play prints a plan that fails in the middle.
func play(p Printer) {
	files := plan.Step{ID: "files", Title: "write the configuration", Cause: "nginx.conf differs"}
	services := plan.Step{ID: "services", Title: "start the services", Cause: "configuration changed"}
	p.Step(files, plan.Started, "")
	p.Step(files, plan.Done, "")
	p.Step(services, plan.Started, "")
	p.Progress("services", "Image nginx Pulling", 5, 10)
	p.Step(services, plan.Failed, "service nginx is unhealthy")
	p.Step(plan.Step{ID: "bootstrap", Title: "create the administrator"}, plan.NotReached, "")
	p.Close()
}

func TestPlainIsForLogs(t *testing.T) {
	var b bytes.Buffer
	p := NewPlain(&b)
	p.now = func() time.Time { return time.Time{} }
	play(p)
	const want = `==> write the configuration (nginx.conf differs)
    done in 0s
==> start the services (configuration changed)
    failed after 0s
    not reached: create the administrator
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}

func TestTextDrawsOverItsLine(t *testing.T) {
	var b bytes.Buffer
	play(NewText(&b))
	for _, want := range []string{"✓\x1b[0m write the configuration", "50%", "✗\x1b[0m start the services", "(not reached)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in %q", want, b.String())
		}
	}
}

// A row that is overwritten must not be wider than the terminal, because the rest of it
// would stay.
func TestTextFitsIntoARow(t *testing.T) {
	for _, width := range []int{20, 40, 60} {
		var b bytes.Buffer
		p := NewText(&b)
		p.width = func() int { return width }
		play(p)
		for row := range strings.FieldsFuncSeq(b.String(), func(r rune) bool { return r == '\n' || r == '\r' }) {
			shown := regexp.MustCompile("\x1b\\[[0-9;]*[mK]").ReplaceAllString(row, "")
			if n := len([]rune(shown)); n >= width {
				t.Errorf("%d columns of %d: %q", n, width, shown)
			}
		}
	}
}

func TestLinesFitIntoATerminal(t *testing.T) {
	if got := Fit("12345\n123456\n", 5); got != "12345\n1234…\n" {
		t.Errorf("%q", got)
	}
	if got := Fit("123456", 0); got != "123456" {
		t.Errorf("%q", got)
	}
}

func TestJSONIsOneObjectPerLine(t *testing.T) {
	var b bytes.Buffer
	play(NewJSON(&b))
	var states []string
	for line := range strings.Lines(b.String()) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		states = append(states, e.Event+" "+string(e.State))
	}
	if got := strings.Join(states, ","); got != "step started,step done,step started,progress ,step failed,step not reached" {
		t.Errorf("%s", got)
	}
}

func TestABufferIsNoTerminal(t *testing.T) {
	if Fancy(&bytes.Buffer{}, nil) {
		t.Error("drew on a buffer")
	}
}

func TestFindingsAreForPeople(t *testing.T) {
	var b bytes.Buffer
	Findings(&b, false, []finding.Finding{
		{Check: "dns", Summary: "chat.example.org resolves to 203.0.113.7"},
		{Check: "certificate", Severity: finding.Warn, Summary: "chat.example.org expires in 9 days", Why: "port 80 is closed", Fix: "open it"},
	})
	const want = `ok    dns         chat.example.org resolves to 203.0.113.7
warn  certificate chat.example.org expires in 9 days
      why  port 80 is closed
      fix  open it

2 checks: 1 ok, 1 warn, 0 fail
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}

func TestTheReportSaysWhereThePasswordLies(t *testing.T) {
	var b bytes.Buffer
	Report(&b, false, provision.Report{ChatURL: "https://c.example.org", Admin: provision.Admin{Username: "admin", PasswordFile: "/opt/appliance/secrets/admin_password"}})
	if !strings.HasPrefix(b.String(), "nothing to do\n") || !strings.Contains(b.String(), "password in /opt/appliance/secrets/admin_password") {
		t.Errorf("%s", b.String())
	}
}
