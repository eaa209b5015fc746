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
	"sync/atomic"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"appliance/bridge/mustrun"
	"appliance/provision/certs/acmetest"
)

// A terminal with a program on it.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	pty    *os.File
	screen vt10x.Terminal
	raw    bytes.Buffer  // all output; read it only after the end
	drawn  atomic.Int64  // bytes that were written
	ended  chan struct{} // closed when nothing more is drawn
}

// Write counts what is drawn.
func (term *terminal) Write(p []byte) (int, error) {
	term.drawn.Add(int64(len(p)))
	return len(p), nil
}

// sit starts the program on a terminal, in a world like that of the scripts.
func sit(t *testing.T, args ...string) *terminal {
	t.Helper()
	return newWorkplace(t).sit(args...)
}

// A workplace is a directory and an environment in which programs are run one after another.
type workplace struct {
	t   *testing.T
	dir string
	env []string
	// host is a shell script that runs before the program, in a mount namespace: it disguises
	// this host as another one.
	host string
}

func newWorkplace(t *testing.T) *workplace {
	t.Helper()
	work := t.TempDir()
	d := &daemon{dir: filepath.Join(work, "docker"), address: ownAddress()}
	stop, err := d.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return &workplace{t: t, dir: work, env: append(environ(), "WORK="+work, "HOME="+work, "DOCKER_HOST=unix://"+d.socket(), "TERM=xterm", "NO_COLOR=1",
		"APPLIANCE_MIN_CPUS=1", "APPLIANCE_MIN_MEMORY_MB=100", "APPLIANCE_MIN_DISK_GB=1", "APPLIANCE_SYSTEMD=false", "APPLIANCE_MONGO_URL="+mongoURL(),
		"APPLIANCE_HTTP_PORT="+strconv.Itoa(acmetest.FreePort(t)), "APPLIANCE_HTTPS_PORT="+strconv.Itoa(acmetest.FreePort(t)))}
}

// environ returns the environment without answers and without a state directory of the
// user's.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "APPLIANCE_") || strings.HasPrefix(e, "XDG_STATE_HOME=")
	})
}

func (w *workplace) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), "appliance", args...)
	if w.host != "" {
		cmd = exec.CommandContext(w.t.Context(), "unshare", append([]string{"-m", "sh", "-ec", w.host + "\nexec appliance \"$@\"", "sh"}, args...)...)
	}
	cmd.Dir, cmd.Env = w.dir, w.env
	return cmd
}

func (w *workplace) sit(args ...string) *terminal {
	w.t.Helper()
	return w.sitAt(80, 24, args...)
}

// sitAt is sit on a terminal of the given size.
func (w *workplace) sitAt(columns, rows int, args ...string) *terminal {
	w.t.Helper()
	t, cmd := w.t, w.command(args...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: uint16(rows), Cols: uint16(columns)})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, pty: f, ended: make(chan struct{})}
	term.screen = vt10x.New(vt10x.WithSize(columns, rows), vt10x.WithWriter(f))
	go func() {
		defer close(term.ended)
		_, _ = io.Copy(io.MultiWriter(term.screen, &term.raw, term), f) // until the program and its terminal are gone
	}()
	t.Cleanup(func() {
		_ = f.Close()
		select {
		case <-term.ended:
		case <-time.After(10 * time.Second): // what the program has started may still have the terminal
		}
	})
	return term
}

// text returns what the screen shows, without blanks at the ends of lines.
func (term *terminal) text() string {
	var out []string
	for line := range strings.Lines(term.screen.String()) {
		out = append(out, strings.TrimRight(line, " \n"))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

// wait waits until the screen shows what and no longer changes.
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

// more adds the answered questions on a screen, which are all but the last one, to
// the earlier ones.
func more(answered []string, screen string) []string {
	var on []string
	for line := range strings.Lines(screen) {
		if line = strings.TrimRight(line, " \n"); strings.HasPrefix(line, "? ") && strings.Contains(line[2:], "?") { // a line of help begins like this, too
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

// recording returns the output of an installation from the plan on, without the
// doctor's findings in a world that has no front door.
func (term *terminal) recording() string {
	text := strings.ReplaceAll(term.raw.String(), "\r\n", "\n")
	_, text, _ = strings.Cut(text, "\n 1. ")
	plan, text, _ := strings.Cut(text, "\n\n")
	_, text, _ = strings.Cut(text, "==>")
	text, _, _ = strings.Cut(text, "\nSome checks need attention")
	if plan == "" || text == "" {
		term.t.Fatalf("no recording in\n%s", term.raw.String())
	}
	return " 1. " + plan + "\n\n? Go on? Yes\n==>" + strings.TrimRight(text, "\n")
}

// enter types keys. On a busy host, keys that arrive before the program reads single keys are lost,
// so they are typed again if they have no effect.
func (term *terminal) enter(keys string) {
	for range 3 {
		before := term.drawn.Load()
		_, _ = io.WriteString(term.pty, keys)
		for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
			select {
			case <-term.ended:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if term.drawn.Load() != before {
				return
			}
		}
	}
}

// end waits until the program has ended, and with it everything that has its terminal open.
func (term *terminal) end() {
	term.t.Helper()
	select {
	case <-term.ended:
	case <-time.After(2 * time.Minute):
		term.t.Fatalf("the program does not end; the screen:\n%s", term.text())
	}
}

// status waits for the end of the program and returns its exit status.
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

// steady returns a screen without what differs between runs and machines: what was
// found about the host comes before the first question.
func steady(screen string) string {
	for _, begin := range []string{"Enter takes", "? Which name will people"} {
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

// steps are a complete first installation, with mistakes on the way.
var steps = []struct{ title, wait, keys string }{
	{"the first question", "Which name will people open", "chat example.test\r"},
	{"what will not do stays, to be corrected", "is not a DNS name", strings.Repeat("\x7f", len(" example.test")) + ".Example.test.\r"},
	{"what is permanent says so", "Which name should Matrix addresses end in", "?\r"},
	{"help", "The part after the colon", "https://Example.test\r"},
	{"an answer that may be empty", "for the certificate authority?", "\r"},
	{"a choice", "Which Matrix homeserver", "\r"},
	{"a default", "administrator's username", "\r"},
	{"a default made of another answer", "administrator's e-mail", "\r"},
	{"another choice", "Where should certificates come from", "\x1b[B\r"},
	{"the review", "Is this right?", "\x1b[B\x1b[B\x1b[B\r"},
	{"an answer is changed", "for the certificate authority?", "ops@example.test\r"},
	{"the review again", "ops@example.test", "\r"},
	{"the plan", "Go on?", "\r"},
}

// TestTheWizardOnATerminal drives a complete first installation on terminals of two sizes,
// and compares the screens with golden files: UPDATE_GOLDEN=1 rewrites them.
func TestTheWizardOnATerminal(t *testing.T) {
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers")
	}
	for _, size := range []struct {
		columns, rows int
		golden        string
	}{{80, 24, "testdata/wizard.txt"}, {60, 20, "testdata/wizard-60x20.txt"}} {
		t.Run(size.golden, func(t *testing.T) {
			term := newWorkplace(t).sitAt(size.columns, size.rows, "up", "--dir", "appliance", "--patience", "0s")
			var screens bytes.Buffer
			var answered []string
			for _, step := range steps {
				screen := term.wait(step.wait)
				fmt.Fprintf(&screens, "=== %s\n%s\n", step.title, steady(screen))
				answered = more(answered, screen)
				term.enter(step.keys)
			}
			term.end()
			if status := term.status(); status != 0 {
				t.Errorf("exit status %d\n%s", status, term.text())
			}
			for i, line := range strings.Split(screens.String(), "\n") {
				if len([]rune(line)) > size.columns {
					t.Errorf("line %d does not fit: %s", i+1, line)
				}
			}
			compareGolden(t, size.golden, screens.String())
			if size.columns == 80 {
				generated(t, "../../README.md", "recording", "```\n$ appliance up\n"+strings.Join(answered, "\n")+"\n\n"+steady(term.recording())+"\n```\n")
			}
		})
	}
}

// TestInterruptingAQuestionChangesNothing presses Ctrl-C.
func TestInterruptingAQuestionChangesNothing(t *testing.T) {
	term := sit(t, "up", "--dir", "appliance")
	term.wait("Which name will people open")
	term.enter("\x03")
	term.end()
	if status := term.status(); status != 130 || !strings.Contains(term.text(), "interrupted") {
		t.Errorf("exit status %d\n%s", status, term.text())
	}
	if left, err := os.ReadDir(term.cmd.Dir); err != nil || len(left) != 1 { // Docker's socket and its records
		t.Errorf("something was made: %v %v", left, err)
	}
}

// Whatever ends a run, answered questions are not asked again until the answers are used;
// then nothing of them is left behind.
func TestNothingIsAskedTwice(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers")
	}
	place := newWorkplace(t)
	up := []string{"up", "--dir", "appliance", "--patience", "0s"}

	term := place.sit(up...)
	term.wait("Which name will people open")
	term.enter("chat.example.test\r")
	term.wait("Which name should Matrix addresses end in")
	term.enter("\x03") // in the middle
	term.end()
	if status := term.status(); status != 130 || !strings.Contains(term.text(), "your answers are kept") {
		t.Errorf("exit status %d\n%s", status, term.text())
	}

	term = place.sit(up...)
	screen := term.wait("Which name should Matrix addresses end in")
	if strings.Contains(screen, "Which name will people open") || !strings.Contains(screen, "1 answer is from last time") {
		t.Errorf("asked again:\n%s", screen)
	}
	for _, step := range [][2]string{
		{"addresses end in", "\r"}, {"certificate authority?", "\r"}, {"Which Matrix homeserver", "\r"}, {"administrator's username", "\r"},
		{"administrator's e-mail", "\r"}, {"Where should certificates come from", "\r"},
	} {
		term.wait(step[0])
		term.enter(step[1])
	}
	term.wait("Is this right?") // Let's Encrypt, which cannot be reached from here
	term.enter("\r")
	term.end()
	if status := term.status(); status != 5 || !strings.Contains(term.text(), "your answers are kept") {
		t.Errorf("exit status %d\n%s", status, term.text())
	}

	term = place.sit(append(up, "--set", "tls=internal")...)
	if screen = term.wait("Is this right?"); strings.Contains(screen, "Which Matrix homeserver") {
		t.Errorf("asked again:\n%s", screen)
	}
	term.enter("\r")
	term.wait("Go on?")
	term.enter("n\r") // not yet
	term.end()
	if status := term.status(); status != 130 || !strings.Contains(term.text(), "your answers are kept") {
		t.Errorf("exit status %d\n%s", status, term.text())
	}

	term = place.sit(append(up, "--set", "tls=internal")...)
	term.wait("Is this right?")
	term.enter("\r")
	term.wait("Go on?")
	term.enter("\r") // yes is the default
	term.end()
	if status := term.status(); status != 0 {
		t.Errorf("exit status %d\n%s", status, term.text())
	}
	if left, _ := filepath.Glob(filepath.Join(place.dir, ".local/state/appliance/*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
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
