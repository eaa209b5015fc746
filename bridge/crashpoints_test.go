package bridge_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"appliance/bridge"
	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// fusedProcess gives a bridge that is a process of its own a fuse; see fuse.
const fusedProcess = "APPLIANCE_TEST_BRIDGE_FUSE"

// runBridge runs this program as the bridge.
func runBridge(file string) error {
	o := bridge.Options{ConfigFile: file, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "test"}
	if os.Getenv(fusedProcess) != "" {
		f := &fuse{}
		o.Store = f.options()
		go f.listen(os.Stdin)
	}
	if dir := os.Getenv(profiles); dir != "" {
		go profile(dir)
	}
	err := bridge.Run(context.Background(), o)
	if err != nil {
		o.Log.Error("ended", "err", err)
	}
	return err
}

// mortal is a world whose bridge dies and is restarted.
type mortal struct {
	*world
	mu     sync.Mutex
	in     io.WriteCloser // of the running bridge
	deaths atomic.Int64
	done   chan struct{}
	over   atomic.Bool
	cmd    *exec.Cmd
}

// newMortal starts a world whose bridge is restarted when it dies, until the test ends.
func newMortal(t *testing.T, database string) *mortal {
	t.Helper()
	home := mxtest.Kind(t)
	m := &mortal{done: make(chan struct{}), world: worldSpec{
		namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(t, home), database: database, noBridge: true,
	}.start(t, &rctest.Server{Polite: true, Simulator: true})}
	started := make(chan struct{})
	go m.live(started)
	t.Cleanup(func() {
		m.over.Store(true)
		m.mu.Lock()
		if m.cmd != nil {
			_ = m.cmd.Process.Kill()
		}
		m.mu.Unlock()
		<-m.done
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(m.dir, "log"))
			t.Logf("the end of the bridge's log:\n%s", text[max(0, len(text)-12000):])
		}
	})
	<-started
	m.ready()
	return m
}

// live starts the bridge, and restarts it when it has died.
func (m *mortal) live(started chan<- struct{}) {
	defer close(m.done)
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Error(err)
		return
	}
	defer func() { _ = log.Close() }()
	first := sync.OnceFunc(func() { close(started) })
	defer first()
	for !m.over.Load() {
		cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this test binary; it is killed at the end
		cmd.Env = append(os.Environ(), bridgeProcess+"="+filepath.Join(m.dir, "bridge.yaml"), fusedProcess+"=1", "GOMAXPROCS=2")
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		in, err := cmd.StdinPipe()
		if err == nil {
			m.mu.Lock()
			if err = cmd.Start(); err == nil {
				m.cmd, m.in = cmd, in
			}
			m.mu.Unlock()
		}
		if err != nil {
			m.t.Error(err)
			return
		}
		first()
		_ = cmd.Wait()
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !m.over.Load() && status.Signal() != syscall.SIGKILL {
			m.t.Errorf("the bridge ended by itself: %v", cmd.ProcessState)
			return
		}
		m.deaths.Add(1)
	}
}

// light lights the fuse of the running bridge.
func (m *mortal) light(point int) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := fmt.Fprintln(m.in, point); err != nil {
		m.t.Fatal(err)
	}
}

// ready waits until the bridge answers.
func (m *mortal) ready() {
	m.t.Helper()
	mxtest.WaitFor(m.t, "the bridge to be ready", func() bool {
		res, err := http.Get(m.url + "/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// die holds a conversation while the bridge dies at a kill point, and compares both sides.
// It reports whether the bridge died.
func (m *mortal) die(point int) bool {
	m.t.Helper()
	before := m.deaths.Load()
	m.light(point)
	k := &talk{stage: &stage{world: m.world}, n: point}
	came := false
	defer func() {
		if !came {
			m.t.Errorf("kill point %d: the conversation came to a stop; the fuse: %s", point, m.where())
		}
	}()
	k.converse()
	came = true
	if wrong := k.compare(time.Minute); wrong != "" {
		m.t.Errorf("kill point %d, %s:\n%s", point, m.where(), wrong)
	}
	died := m.deaths.Load() > before
	if !died {
		m.light(0)
	}
	m.ready()
	return died
}

// where returns the write at which the bridge last died.
func (m *mortal) where() string {
	text, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	_, last, _ := strings.Cut(string(text[max(0, strings.LastIndex(string(text), "fuse: ")):]), "fuse: ")
	line, _, _ := strings.Cut(last, "\n")
	return line
}

// A conversation with every kind of event each way is repeated, and the bridge dies during
// it: before the first write to its database, after it, before the second one and so on,
// until a conversation ends before the bridge dies. Each time both sides end up the same:
// nothing is lost, duplicated, out of order, or with the wrong sender or target. By
// default some points are tried, all with APPLIANCE_TEST_CRASH=all.
func TestTheBridgeMayDieAtAnyWrite(t *testing.T) {
	t.Parallel()
	if !mxtest.Hermetic() {
		mustrun.Skip(t, "it is the order of writes that is tested, and not the homeserver; it runs with a hermetic one, in make test too")
	}
	for _, sub := range []struct {
		name     string
		database func(t *testing.T) string
		worlds   int   // side by side: with PostgreSQL most time is spent waiting for leases to expire
		some     []int // the points tried by default
	}{
		{"SQLite", func(*testing.T) string { return "" }, 4, []int{1, 12, 31, 58, 83, 120, 157, 194}},
		{"PostgreSQL", func(t *testing.T) string { return postgresDatabase(t) }, 6, []int{1, 64, 131}},
	} {
		t.Run(sub.name, func(t *testing.T) {
			t.Parallel()
			database := sub.database(t) // may skip here
			next, every := points(t, sub.some)
			if !every {
				sub.worlds = min(sub.worlds, len(sub.some))
			}
			var died, end atomic.Int64
			end.Store(1 << 30)
			var all sync.WaitGroup
			for n := range sub.worlds {
				if n > 0 {
					database = sub.database(t)
				}
				m := newMortal(t, database)
				all.Go(func() {
					for point := next(); point != 0 && int64(point) < end.Load(); point = next() {
						if m.die(point) {
							died.Add(1)
						} else {
							end.Store(min(end.Load(), int64(point)))
						}
					}
				})
			}
			all.Wait()
			if !t.Failed() {
				t.Logf("%d kill points: nothing lost, doubled or mixed up", died.Load())
			}
			if died.Load() == 0 {
				t.Error("the bridge never died")
			}
		})
	}
}

// points returns a function that returns the next kill point, and 0 after the last one:
// some over the whole conversation, all, or those that APPLIANCE_TEST_CRASH names.
func points(t *testing.T, some []int) (next func() int, every bool) {
	t.Helper()
	if named := os.Getenv("APPLIANCE_TEST_CRASH"); named == "all" {
		var n atomic.Int64
		return func() int { return int(n.Add(1)) }, true
	} else if named != "" {
		some = nil
		for _, text := range strings.Split(named, ",") {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatalf("APPLIANCE_TEST_CRASH: %v", err)
			}
			some = append(some, n)
		}
	}
	list := make(chan int, len(some))
	for _, n := range some {
		list <- n
	}
	close(list)
	return func() int { return <-list }, false
}
