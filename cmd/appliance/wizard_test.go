package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"appliance/provision/certs/acmetest"
)

// A terminal of 80 by 24 with a program on it.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	pty    *os.File
	screen vt10x.Terminal
	raw    bytes.Buffer  // everything that was written; to be read when it has ended
	ended  chan struct{} // when nothing more is drawn
}

// sit starts the program on a terminal, in a world like that of the scripts.
func sit(t *testing.T, args ...string) *terminal {
	t.Helper()
	return newWorkplace(t).sit(args...)
}

// A workplace is where programs are started one after the other.
type workplace struct {
	t   *testing.T
	dir string
	env []string
}

func newWorkplace(t *testing.T) *workplace {
	t.Helper()
	work := t.TempDir()
	d := &daemon{dir: filepath.Join(work, "docker"), address: fmt.Sprintf("127.76.%d.1", os.Getpid()%200+1)}
	stop, err := d.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return &workplace{t: t, dir: work, env: append(os.Environ(), "WORK="+work, "DOCKER_HOST=unix://"+d.socket(), "TERM=xterm", "NO_COLOR=1",
		"APPLIANCE_MIN_CPUS=1", "APPLIANCE_MIN_MEMORY_MB=100", "APPLIANCE_MIN_DISK_GB=1", "APPLIANCE_SYSTEMD=false", "APPLIANCE_MONGO_URL=mongodb://db.example.test/rc",
		"APPLIANCE_HTTP_PORT="+strconv.Itoa(acmetest.FreePort(t)), "APPLIANCE_HTTPS_PORT="+strconv.Itoa(acmetest.FreePort(t)))}
}

func (w *workplace) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), "appliance", args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	return cmd
}

func (w *workplace) sit(args ...string) *terminal {
	w.t.Helper()
	t, cmd := w.t, w.command(args...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, pty: f, ended: make(chan struct{})}
	term.screen = vt10x.New(vt10x.WithSize(80, 24), vt10x.WithWriter(f))
	go func() {
		defer close(term.ended)
		_, _ = io.Copy(io.MultiWriter(term.screen, &term.raw), f) // until the program and its terminal are gone
	}()
	t.Cleanup(func() { _ = f.Close(); <-term.ended })
	return term
}

// text is what the screen shows, without blanks at the ends of lines.
func (term *terminal) text() string {
	var out []string
	for line := range strings.Lines(term.screen.String()) {
		out = append(out, strings.TrimRight(line, " \n"))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

// wait waits until the screen shows something and stands still.
func (term *terminal) wait(what string) string {
	term.t.Helper()
	var last string
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		select {
		case <-term.ended:
			if now := term.text(); strings.Contains(now, what) {
				return now
			}
			term.t.Fatalf("the program ended before it showed %q; the screen:\n%s", what, term.text())
		case <-time.After(100 * time.Millisecond):
		}
		now := term.text()
		if strings.Contains(now, what) && now == last {
			return now
		}
		last = now
	}
	term.t.Fatalf("the screen does not show %q:\n%s", what, last)
	return ""
}

// more adds the questions on a screen that have been answered, all but the last
// one, to those before.
func more(answered []string, screen string) []string {
	var on []string
	for line := range strings.Lines(screen) {
		if line = strings.TrimRight(line, " \n"); strings.HasPrefix(line, "? ") && strings.Contains(line[2:], "?") { // a line of help begins so too
			on = append(on, line)
		}
	}
	for _, line := range on[:max(0, len(on)-1)] {
		if !slices.Contains(answered, line) {
			answered = append(answered, line)
		}
	}
	return answered
}

// recording is the course of an installation from the plan on. What the doctor
// thinks of a world without a front door does not belong to it.
func (term *terminal) recording() string {
	text := strings.ReplaceAll(term.raw.String(), "\r\n", "\n")
	_, text, _ = strings.Cut(text, "\n 1. ")
	plan, text, _ := strings.Cut(text, "\n\n")
	_, text, _ = strings.Cut(text, "==>")
	text, _, _ = strings.Cut(text, "\nNot everything is well")
	if plan == "" || text == "" {
		term.t.Fatalf("no recording in\n%s", term.raw.String())
	}
	return " 1. " + plan + "\n\n? Go on? Yes\n==>" + strings.TrimRight(text, "\n")
}

func (term *terminal) enter(keys string) { _, _ = io.WriteString(term.pty, keys) }

// status waits for the end of the program.
func (term *terminal) status() int {
	term.t.Helper()
	err := term.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		term.t.Fatal(err)
	}
	return term.cmd.ProcessState.ExitCode()
}

var varies = regexp.MustCompile(`/\S*/001|:\d{5}\b|\b\d+(\.\d+)?(ms|µs|s)\b`)

// steady is a screen without what differs between runs and machines: what was
// found of the host comes before the first question.
func steady(screen string) string {
	for _, begin := range []string{"X Sorry", "? Which name will people"} {
		if i := strings.Index(screen, begin); i >= 0 {
			screen = screen[i:]
			break
		}
	}
	return varies.ReplaceAllStringFunc(screen, func(s string) string {
		switch s[0] {
		case '/':
			return "/srv"
		case ':':
			return ""
		}
		return "0s"
	})
}

// TestTheWizardOnATerminal drives a whole first installation, and keeps the
// screens: UPDATE_GOLDEN=1 rewrites them.
func TestTheWizardOnATerminal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to the users of containers")
	}
	term := sit(t, "up", "--dir", "appliance", "--patience", "0s")
	var screens bytes.Buffer
	show := func(title, screen string) { fmt.Fprintf(&screens, "=== %s\n%s\n", title, steady(screen)) }
	var answered []string
	for _, step := range []struct{ title, wait, keys string }{
		{"the first question", "Which name will people open", "https://chat.example.test\r"},
		{"what will not do is asked again", "must be a bare name", strings.Repeat("\x7f", 30) + "chat.example.test\r"},
		{"what is permanent says so", "Which name should Matrix addresses end in", "?\r"},
		{"help", "It can never change", "example.test\r"},
		{"an answer that may be empty", "for the certificate authority?", "\r"},
		{"a choice", "Which Matrix homeserver", "\r"},
		{"a default", "administrator's username", "\r"},
		{"a default made of another answer", "administrator's e-mail", "\r"},
		{"another choice", "Where should certificates come from", "\x1b[B\r"},
		{"the plan", "Go on?", "y\r"},
	} {
		screen := term.wait(step.wait)
		show(step.title, screen)
		answered = more(answered, screen)
		term.enter(step.keys)
	}
	<-term.ended
	if status := term.status(); status != 0 {
		t.Errorf("exit status %d\n%s", status, term.text())
	}
	for i, line := range strings.Split(screens.String(), "\n") {
		if len([]rune(line)) > 80 {
			t.Errorf("line %d does not fit: %s", i+1, line)
		}
	}
	compareGolden(t, "testdata/wizard.txt", screens.String())
	readme(t, "recording", "```\n$ appliance up\n"+strings.Join(answered, "\n")+"\n\n"+steady(term.recording())+"\n```\n")
}

// TestInterruptingAQuestionChangesNothing presses Ctrl-C.
func TestInterruptingAQuestionChangesNothing(t *testing.T) {
	term := sit(t, "up", "--dir", "appliance")
	term.wait("Which name will people open")
	term.enter("\x03")
	<-term.ended
	if status := term.status(); status != 130 || !strings.Contains(term.text(), "interrupted") {
		t.Errorf("exit status %d\n%s", status, term.text())
	}
	if _, err := os.Stat(filepath.Join(term.cmd.Dir, "appliance")); err == nil {
		t.Error("something was made")
	}
}

func compareGolden(t *testing.T, name, want string) {
	t.Helper()
	have, err := os.ReadFile(name)
	if err == nil && string(have) == want {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Errorf("%s is not what the program shows; run: UPDATE_GOLDEN=1 go test ./cmd/appliance\n%s", name, want)
		return
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readme keeps one place of README.md as it should be.
func readme(t *testing.T, place, text string) {
	t.Helper()
	const file = "../../README.md"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, have, place, text)
	if bytes.Equal(have, want) {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Errorf("README.md does not show what the program does (%s); run: UPDATE_GOLDEN=1 go test ./cmd/appliance", place)
		return
	}
	if err := os.WriteFile(file, want, 0o644); err != nil {
		t.Fatal(err)
	}
}
