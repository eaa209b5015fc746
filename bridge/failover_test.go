package bridge_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
)

// PostgreSQL is killed behind two bridges while people write on both sides, and its standby
// takes over, after some seconds without a connection: every message is there exactly once and
// in order. The standby is synchronous. An asynchronous one loses the last commits, and
// nothing above it could know.
func TestNothingIsLostWhenPostgreSQLFailsOver(t *testing.T) {
	t.Parallel()
	primary, standby := newPair(t)
	d, through := newDoor(t, primary.address())
	fl := newFlood(newFleetOn(t, 2, through, through), 3, 60)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		fl.send(100 * time.Millisecond) // so that people write before, during and after
	}()
	<-time.After(2 * time.Second)
	primary.docker("kill", primary.name)
	d.shut(true)
	began := time.Now()
	standby.sql(`SELECT pg_promote()`)
	d.lead(standby.address())
	d.shut(false)
	t.Logf("the standby had taken over after %.1f s", time.Since(began).Seconds())
	<-sent
	fl.check(2 * time.Minute)
}

// lead points a door at another server.
func (d *door) lead(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, rest, _ := strings.Cut(address, "@")
	d.to, _, _ = strings.Cut(rest, "/")
}

// pgServer is a PostgreSQL in a container of its own.
type pgServer struct {
	t    *testing.T
	name string
}

// newPair starts two servers, one of which follows the other: what is committed is on both.
func newPair(t *testing.T) (primary, standby *pgServer) {
	t.Helper()
	if os.Getenv("APPLIANCE_TEST_POSTGRES") == "" {
		mustrun.Skip(t, "it starts two PostgreSQL with Docker; make test does and runs this")
	}
	versions, err := os.ReadFile("../compose/versions.env")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`(?m)^POSTGRES_IMAGE=(\S+)$`).FindStringSubmatch(string(versions))
	if image == nil {
		t.Fatal("compose/versions.env names no image of PostgreSQL")
	}
	// What is killed says nothing of itself: no data is kept, so nothing waits for a disk.
	start := func(role, begin string, args ...string) *pgServer {
		s := &pgServer{t, fmt.Sprintf("appliance-test-%s-%d", role, time.Now().UnixNano())}
		t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", s.name).Run() }) //nolint:gosec // our own name
		s.docker(append([]string{"run", "-d", "--name", s.name, "--user", "999:999", "--shm-size", "256m", "--tmpfs", "/var/lib/postgresql/data:uid=999,gid=999,mode=0700",
			"--entrypoint", "sh", image[1], "-c", begin + ` && chmod 0700 "$PGDATA" && exec postgres -c listen_addresses='*' -c max_connections=200`, "sh"}, args...)...)
		return s
	}
	primary = start("primary", `initdb --pgdata "$PGDATA" --username postgres --auth trust && printf 'host all all all trust\nhost replication all all trust\n' >>"$PGDATA/pg_hba.conf"`)
	primary.awaits(`SELECT 1`, "1")
	standby = start("standby", `pg_basebackup --host "$1" --username postgres --pgdata "$PGDATA" --write-recovery-conf --wal-method stream`, primary.host())
	standby.awaits(`SELECT pg_is_in_recovery()`, "t")
	primary.sql(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
	primary.sql(`SELECT pg_reload_conf()`)
	primary.awaits(`SELECT sync_state FROM pg_stat_replication`, "sync")
	return primary, standby
}

// docker runs a Docker command and returns its output.
func (s *pgServer) docker(args ...string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "docker", args...).CombinedOutput() //nolint:gosec // arguments of this file
	if err != nil {
		s.t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *pgServer) host() string {
	s.t.Helper()
	return s.docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", s.name)
}

func (s *pgServer) address() string {
	s.t.Helper()
	return "postgres://postgres@" + s.host() + ":5432/postgres?sslmode=disable"
}

// sql executes a statement that returns one value, or none.
func (s *pgServer) sql(query string) string {
	s.t.Helper()
	db, err := sql.Open("pgx", s.address())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var out string
	if err := db.QueryRowContext(s.t.Context(), query).Scan(&out); err != nil && err != sql.ErrNoRows { //nolint:errorlint // Scan returns it as it is
		s.t.Fatalf("%s: %v", query, err)
	}
	return out
}

// awaits waits until a query returns the wanted value.
func (s *pgServer) awaits(query, want string) {
	s.t.Helper()
	waitUntil(s.t, query+" to be "+want, time.Minute, func() bool {
		out, err := exec.CommandContext(s.t.Context(), "docker", "exec", s.name, "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", query).Output() //nolint:gosec // queries of this file
		return err == nil && strings.TrimSpace(string(out)) == want
	})
}
