package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/cmd/appliance/internal/fakehost"
	"appliance/provision/certs/acmetest"
)

// finished runs a command and returns its exit status and its output.
func finished(t *testing.T, cmd *exec.Cmd) (int, string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (w *workplace) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// whole fails the test unless the installation is complete and was started once.
func (w *workplace) whole(up ...string) {
	w.t.Helper()
	log, _ := os.ReadFile(filepath.Join(w.dir, "docker/log"))
	if n := strings.Count(string(log), " up --detach --wait --wait-timeout 900 "); n != 1 {
		w.t.Errorf("the services were started %d times:\n%s", n, log)
	}
	if status, said := finished(w.t, w.command(up...)); status != 0 || !strings.Contains(said, "nothing to do\n") {
		w.t.Errorf("afterwards %d:\n%s", status, said)
	}
}

// Whatever a first up is doing, a second up, or another command that would change something,
// says who is at work and what to do. It does not wait silently, and neither changes nor judges
// a half-finished installation. The first up completes.
func TestASecondUpIsRefusedInEveryPhase(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers; make test runs as root and demands this")
	}
	w := newWorkplace(t)
	authority := acmetest.New(t)
	w.write("docker/absent", "postgres:17\n")
	up := []string{"up", "--dir", "appliance", "--set", "domain=chat.example.test", "--set", "acme_directory=" + authority.Directory,
		"--set", "acme_ca_file=" + authority.CAFile, "--set", "http_port=" + strconv.Itoa(authority.HTTPPort), "--patience", "0s"}
	first := w.command(up...)
	said, err := first.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	phases, n := "", 0
	var all bytes.Buffer
	for lines := bufio.NewScanner(said); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		phase, is := strings.CutPrefix(lines.Text(), "==> ")
		if !is {
			continue
		}
		n++
		phases += strings.Fields(phase)[0] + " "
		if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		others := [][]string{{"up", "--dir", "appliance", "--dry-run", "--set", "domain=chat.example.test", "--set", "tls=internal"}, {"down", "--dir", "appliance"}, {"backup", "--dir", "appliance"}}
		for _, second := range [][]string{up, others[n%len(others)]} {
			status, got := finished(t, w.command(second...))
			ready := second[0] == "up" || strings.HasPrefix(phase, "start") || strings.HasPrefix(phase, "create")
			if refused := status == 6 && strings.Contains(got, "error: another appliance process is changing "+w.dir+"/appliance (pid ") &&
				strings.Contains(got, "hint: wait until it is done, then run this again\n"); ready && !refused || status == 0 {
				t.Errorf("while the first would %s, %s: %d\n%s", phase, second[0], status, got)
			}
		}
		if err := first.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Wait(); err != nil {
		t.Fatalf("the first: %v\n%s", err, &all)
	}
	if phases != "generate write get build fetch lock start create " {
		t.Errorf("the phases were %s", phases)
	}
	w.whole(up...)
}

// If two start at the same time, both check the host; one of them installs, and the other
// one changes nothing.
func TestTwoThatBeginAtOnceInstallOnce(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers; make test runs as root and demands this")
	}
	w := newWorkplace(t)
	w.write("docker/hold", "")
	up := []string{"up", "--dir", "appliance", "--set", "domain=chat.example.test", "--set", "tls=internal", "--patience", "0s"}
	type end struct {
		status int
		said   string
	}
	ends := make(chan end, 2)
	for range 2 {
		go func() {
			status, said := finished(t, w.command(up...))
			ends <- end{status, said}
		}()
	}
	for deadline := time.Now().Add(20 * time.Second); len(fakehost.Lines(filepath.Join(w.dir, "docker"), "held")) < 2; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("they do not both look at the host")
		}
	}
	if err := os.Remove(filepath.Join(w.dir, "docker/hold")); err != nil {
		t.Fatal(err)
	}
	done := 0
	for range 2 {
		switch e := <-ends; {
		case e.status == 0:
			done++
		case e.status != 6 || !strings.Contains(e.said, "another appliance process is changing "):
			t.Errorf("%d\n%s", e.status, e.said)
		}
	}
	if done == 0 {
		t.Error("neither has installed anything")
	}
	w.whole(up...)
}
