package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"appliance/bridge/mustrun"
	"appliance/cmd/appliance/internal/fakehost"
)

// installed returns a workplace with an installation in the directory appliance.
func installed(t *testing.T) *workplace {
	t.Helper()
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers; make test runs as root and demands this")
	}
	w := newWorkplace(t)
	if out, err := w.command("up", "--dir", "appliance", "--set", "domain=chat.example.test", "--set", "tls=internal", "--patience", "0s").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return w
}

func (w *workplace) ill(service string) {
	if err := os.WriteFile(filepath.Join(w.dir, "docker/unhealthy"), []byte(service), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestTheStatusIsWatchedInTheSamePlace(t *testing.T) {
	w := installed(t)
	term := w.sit("status", "--dir", "appliance", "--watch", "--interval", "100ms")
	term.wait("Ctrl-C ends")
	w.ill("bridge")
	screen := term.wait("Up 1 minute (unhealthy)")
	lines := strings.Split(screen, "\n")
	if strings.Count(screen, "rocketchat") > 2 || !strings.Contains(screen, "chat.example.test  until ") || !strings.Contains(lines[len(lines)-1], "every 100ms; Ctrl-C ends") || len(lines) > 24 {
		t.Errorf("the screen:\n%s", screen)
	}
	term.enter("\x03")
	term.end()
	if status := term.status(); status != 0 {
		t.Errorf("exit status %d\n%s", status, term.text())
	}
}

func TestAStatusThatDoesNotFitIsCutOff(t *testing.T) {
	w := installed(t)
	term := w.sit("status", "--dir", "appliance", "--watch", "--interval", "100ms")
	if err := term.resize(8, 40); err != nil {
		t.Fatal(err)
	}
	screen := term.wait("more lines do not fit")
	if lines := strings.Split(screen, "\n"); len(lines) != 8 || !strings.HasPrefix(lines[0], "Rocket.Chat") || !strings.HasSuffix(lines[7], "…") {
		t.Errorf("the screen:\n%s", screen)
	}
	term.enter("\x03")
	term.end()
}

func TestTheStatusIsWatchedByAProgram(t *testing.T) {
	w := installed(t)
	cmd := w.command("status", "--dir", "appliance", "--watch", "--json", "--interval", "100ms")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var at time.Time
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var doc struct {
			At       time.Time
			Services []struct{ Name, Health string }
		}
		if err := json.Unmarshal(lines.Bytes(), &doc); err != nil || !doc.At.After(at) || len(doc.Services) != len(fakehost.Services) {
			t.Fatalf("line %d: %s (%v)", n, lines.Bytes(), err)
		}
		at = doc.At
		if n == 0 {
			w.ill("bridge")
		}
		if doc.Services[0].Name == "bridge" && doc.Services[0].Health == "unhealthy" {
			_ = cmd.Process.Signal(os.Interrupt)
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// resize changes the size of the terminal.
func (term *terminal) resize(rows, cols uint16) error {
	term.screen.Resize(int(cols), int(rows))
	return pty.Setsize(term.pty, &pty.Winsize{Rows: rows, Cols: cols})
}
