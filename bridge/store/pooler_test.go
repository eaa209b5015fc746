package store_test

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// pooled starts a PgBouncer in front of a database's server, and returns the address of the
// database behind it.
func pooled(t *testing.T, database string, options ...string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		mustrun.Skip(t, "PgBouncer is not installed; make setup installs it")
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePort(t)
	password, _ := u.User.Password()
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s user=%s password=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\ndefault_pool_size = 60\nlogfile = %s\n%s\n",
		u.Hostname(), u.Port(), u.User.Username(), password, port, filepath.Join(dir, "log"), strings.Join(options, "\n"))
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{file}
	if os.Geteuid() == 0 { // it refuses to run as root
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		for _, name := range []string{filepath.Dir(dir), dir, file} {
			if err := os.Chown(name, uid, -1); err != nil {
				t.Fatal(err)
			}
		}
		args = append([]string{"-u", "nobody"}, args...)
	}
	var said bytes.Buffer
	cmd := exec.Command(program, args...) //nolint:noctx // it is killed at the end
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	answers(t, u.Host)
	return u.String()
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // on this machine
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// answers waits until connections to an address can be opened.
func answers(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address) //nolint:noctx // on this machine
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// A pooler that assigns a server per transaction would make the bridge deaf to
// notifications, and lose its locks: it is refused with a reason, and nothing is written.
func TestAPoolerThatKeepsNoSessionsIsRefused(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"transaction":           {"pool_mode = transaction"},
		"transaction, in turns": {"pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 5"},
		"statement":             {"pool_mode = statement"},
		"told to ignore what it does not know": {
			"pool_mode = transaction", "ignore_startup_parameters = idle_in_transaction_session_timeout,lock_timeout,search_path",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := postgresURL(t)
			refuses(t, pooled(t, direct, options...), "pool_mode=session", "PgBouncer", "LISTEN")
			u, _ := url.Parse(direct)
			u.RawQuery = "sslmode=disable&search_path=public"
			if s, err := store.Open(t.Context(), u.String()); err != nil {
				t.Errorf("without the pooler: %v", err)
			} else {
				_ = s.Close()
			}
		})
	}
}

// Behind a pooler that keeps sessions, processes share the work as they do without one: each is
// notified at once of what the others have done, and a lock held by one keeps the others out.
func TestAPoolerThatKeepsSessionsIsLikeNone(t *testing.T) {
	t.Parallel()
	behind := pooled(t, postgresURL(t), "pool_mode = session")
	a, b := open(t, behind), open(t, behind)
	heard := make(chan string, 1)
	b.Subscribe("test", func(values []string) { heard <- values[0] })
	for end := time.After(20 * time.Second); ; { // b may not be listening yet
		a.Announce("test", "hello")
		select {
		case got := <-heard:
			if got != "hello" {
				t.Errorf("heard %q", got)
			}
		case <-time.After(200 * time.Millisecond):
			continue
		case <-end:
			t.Fatal("nothing is heard")
		}
		break
	}
	unlock, err := a.Lock("room")
	if err != nil {
		t.Fatal(err)
	}
	locked := make(chan error, 1)
	go func() {
		free, err := b.Lock("room")
		if err == nil {
			free()
		}
		locked <- err
	}()
	select {
	case err := <-locked:
		t.Errorf("both have the lock: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	unlock()
	if err := <-locked; err != nil {
		t.Error(err)
	}
	add(t, a, queue.Item{ID: "1", Lane: "l"}, queue.Item{ID: "2", Lane: "l"})
	it := claimed(t, a, "1")
	mustNotClaim(t, b)
	if err := a.Done(t.Context(), it, nil, nil); err != nil {
		t.Error(err)
	}
	it = claimed(t, a, "2")
	if err := a.Done(t.Context(), it, nil, nil); err != nil {
		t.Error(err)
	}
}
