package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// bridgeData are rows in every table, as a bridge leaves them. Some texts contain
// what PostgreSQL does not accept.
var bridgeData = []string{
	`INSERT INTO items (seq, id, lane, kind, payload, accepted, attempts, failures, cause, buried) VALUES (1000000, '$dead', 'mx:!m:x', 'k', 'dead', 1, 3, 2, 'refused', 4)`,
	`INSERT INTO lanes (lane, waiting, due, held) VALUES ('mx:later', 1, 1, 0)`,
	`INSERT INTO done (id, at) VALUES ('$delivered', 9000000000000)`,
	`INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event, mx_sender) VALUES ('$delivered', 0, 'r', 'm', '!m:x', '$delivered', '@bob:y')`,
	`INSERT INTO reactions (rc_message, emoji, rc_user, mx_event, mx_room, mx_sender) VALUES ('m', ':smile:', 'u', '$reaction', '!m:x', '@alice:x')`,
	`INSERT INTO media (source, target, info, at) VALUES ('rc:file', 'mxc://x/y', '{"w": 3}', 9000000000000)`,
	`INSERT INTO edits (event, target) VALUES ('$edit', '$delivered')`,
	`INSERT INTO portals (rc_room, mx_room, rc_type, rc_reader, mx_reader, created, title) VALUES ('r', '!m:x', 'p', '', '@alice:x', 5, 'Grüße')`,
	`INSERT INTO ghosts (rc_user, mx_user, username, name) VALUES ('u', '@alice:x', 'alice', CAST(x'416C00696365FF' AS TEXT))`,
	`INSERT INTO puppets (mx_user, rc_user, username, name, token) VALUES ('@bob:y', 'v', 'bob_y', 'Bob', 'token')`,
	`INSERT INTO puppet_marks (mx_user, mark) VALUES ('@bob:y', 'mark')`,
	`INSERT INTO doubles (mx_user, rc_user, username, token, since) VALUES ('@carol:y', 'w', 'carol', 'token', 7)`,
	`INSERT INTO double_claims (rc_user, username, mx_user, digest, expires, attempts) VALUES ('w2', 'dave', '@dave:y', 'ab', 9000000000000, 2)`,
	`INSERT INTO console_sessions (key, user_id, username, began, seen, asked) VALUES ('cd', 'a', 'admin', 1, 2, 3)`,
	`INSERT INTO cursors (name, value) VALUES ('rc:r', '17')`,
}

const lanesOfData = 20

// used creates an SQLite database as a stopped bridge leaves it, with a number of links,
// and items that wait in lanesOfData lanes.
func used(t *testing.T, links, waiting int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bridge.db")
	s := open(t, "sqlite:"+file)
	var items []queue.Item
	for n := range waiting {
		lane := fmt.Sprint("mx:!room", n%lanesOfData)
		items = append(items, queue.Item{ID: fmt.Sprint("$wait", n), Lane: lane, Kind: "k", Payload: fmt.Appendf(nil, "item %d\x00\xff", n)})
	}
	add(t, s, items...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	many := fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event, mx_sender)
		SELECT '$old' || i, 0, 'r' || i %% 500, 'message' || i, '!room' || i %% 500, '$old' || i, '@person' || i %% 1000 || ':y' FROM n`, links)
	execSQLite(t, file, append([]string{many}, bridgeData...)...)
	return "sqlite:" + file
}

// dump reads every row of the tables that a move copies, in an order of its own.
func dump(t *testing.T, url string) map[string][]string {
	t.Helper()
	driver, dsn := "pgx", url
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+file
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	out := map[string][]string{}
	for _, table := range store.MovedTables {
		out[table] = dumpTable(t, db, table)
	}
	return out
}

func dumpTable(t *testing.T, db *sql.DB, table string) (out []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT * FROM `+table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, _ := rows.Columns()
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range into {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for i, name := range columns {
			text := fmt.Sprint(values[i])
			if b, ok := values[i].([]byte); ok {
				text = string(b)
			}
			switch {
			case table == "lanes" && (name == "fence" || name == "owner" || name == "held"), table == "items" && name == "attempts":
			default:
				row[name] = text
			}
		}
		if table != "lanes" || row["lane"] == "mx:later" { // PostgreSQL has a row for each lane
			out = append(out, fmt.Sprint(row)) // sorted by key
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	slices.Sort(out)
	return out
}

// same compares dumps. In a name, what PostgreSQL does not accept was replaced.
func same(t *testing.T, got, want map[string][]string) {
	t.Helper()
	for _, table := range store.MovedTables {
		if len(got[table]) != len(want[table]) {
			t.Errorf("%s: %d rows, want %d", table, len(got[table]), len(want[table]))
			continue
		}
		for i := range want[table] {
			w := strings.ReplaceAll(want[table][i], "Al\x00ice\xff", "Alice\uFFFD")
			if got[table][i] != w {
				t.Errorf("%s: row %q, want %q", table, got[table][i], w)
				break
			}
		}
	}
}

func move(t *testing.T, from, to string) store.Moved {
	t.Helper()
	done, err := store.Move(t.Context(), store.Moving{From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// sizeOfMove returns how many links and items the move there and back has: those of
// the reference size with APPLIANCE_TEST_MOVE=full.
func sizeOfMove() (links, waiting int) {
	if os.Getenv("APPLIANCE_TEST_MOVE") == "full" {
		return 100_000, 1000
	}
	return 3000, 200
}

// A bridge is moved from SQLite to PostgreSQL and back: it keeps everything it knew,
// waiting items are delivered in order, and the database that was left is refused.
func TestADatabaseIsMovedThereAndBack(t *testing.T) {
	t.Parallel()
	links, waiting := sizeOfMove()
	file, server := used(t, links, waiting), postgresURL(t)
	before := dump(t, file)
	there := move(t, file, server)
	t.Logf("there: %d rows in %.2f s", there.Rows, there.Took)
	same(t, dump(t, server), before)
	if there.Changed != 1 || there.Rows < int64(links+waiting) || len(there.Tables) != len(store.MovedTables) {
		t.Errorf("moved %+v", there)
	}
	refusedAs(t, file, "no longer in use", "moved to")
	s := open(t, server)
	takeHalf(t, s)
	add(t, s, queue.Item{ID: "$between", Lane: "mx:!between", Kind: "k"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	back := move(t, server, file)
	t.Logf("back: %d rows in %.2f s", back.Rows, back.Took)
	same(t, dump(t, file), dump(t, server))
	refusedAs(t, server, "no longer in use", "bridge.db")
	s = open(t, file)
	rest := map[string][]string{}
	for {
		it, ok, err := s.Claim(t.Context(), queue.Messages, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		rest[it.Lane] = append(rest[it.Lane], it.ID)
		if err := s.Done(t.Context(), it, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for n := range lanesOfData {
		var want []string
		for i := lanesOfData + n; i < waiting; i += lanesOfData {
			want = append(want, fmt.Sprint("$wait", i))
		}
		if got := rest[fmt.Sprint("mx:!room", n)]; !slices.Equal(got, want) {
			t.Errorf("room %d: %v, want %v", n, got, want)
		}
	}
	if got := rest["mx:!between"]; !slices.Equal(got, []string{"$between"}) {
		t.Errorf("what was accepted on PostgreSQL: %v", got)
	}
}

// takeHalf delivers the first item of every lane, which must be the oldest and must
// count as tried: the previous process may have delivered it.
func takeHalf(t *testing.T, s *store.Store) {
	t.Helper()
	want := map[string]bool{}
	for n := range lanesOfData {
		want[fmt.Sprint("$wait", n)] = true
	}
	var taken []queue.Item
	for range lanesOfData {
		it := next(t.Context(), t, s)
		if !want[it.ID] || it.Attempts == 0 || !strings.HasPrefix(string(it.Payload), "item ") || !strings.HasSuffix(string(it.Payload), "\x00\xff") {
			t.Errorf("took %s after %d attempts: %q", it.ID, it.Attempts, it.Payload)
		}
		delete(want, it.ID)
		taken = append(taken, it)
	}
	for _, it := range taken {
		if err := s.Done(t.Context(), it, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func refusedAs(t *testing.T, url string, words ...string) {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err == nil {
		_ = s.Close()
	}
	for _, w := range words {
		if !errors.Is(err, store.ErrUnusable) || !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("%s: opened with %v, want %q", strings.SplitN(url, ":", 2)[0], err, w)
		}
	}
}

// Every table of the schema is moved, or known to stay where it is.
func TestEveryTableIsMoved(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bridge.db")
	_ = open(t, "sqlite:"+file).Close()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	stay := []string{"roles", "replicas", "moves", "compatible", "goose_db_version"}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(store.MovedTables, name) == slices.Contains(stay, name) {
			t.Errorf("the table %s is not moved", name)
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
}

// What cannot be moved is refused, and stays unchanged.
func TestAMoveIsRefused(t *testing.T) {
	t.Parallel()
	file, server := used(t, 10, 20), postgresURL(t)
	try := func(from, to string, words ...string) {
		t.Helper()
		_, err := store.Move(t.Context(), store.Moving{From: from, To: to})
		for _, w := range words {
			if !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("%v, want %q", err, w)
			}
		}
	}
	try(file, file, "in use by another process")
	try("sqlite:"+filepath.Join(t.TempDir(), "none.db"), server, "none.db")
	try(file, "postgres://postgres@127.0.0.1:1/none", "the database to move to")
	running := open(t, file)
	try(file, server, "in use by another process")
	_ = running.Close()
	other := used(t, 10, 20)
	try(file, other, "has the data of a bridge already", "name an empty one")
	move(t, file, server)
	on := open(t, server)
	try(server, file, "in use by another process", "stop")
	_ = on.Close()
	try(file, other, "no data to move")
	if again := move(t, file, server); !again.Already { // an interrupted command is repeated
		t.Errorf("moved again: %+v", again)
	}
	move(t, server, file)
	if s := open(t, file); s.Process() != "" {
		t.Error("no SQLite")
	}
}

// A rehearsal counts, changes nothing and creates nothing, even while the bridge runs.
func TestAMoveIsRehearsed(t *testing.T) {
	t.Parallel()
	file, server := used(t, 10, 20), postgresURL(t)
	s := open(t, file)
	before := dump(t, file)
	for _, to := range []string{server, "sqlite:" + filepath.Join(t.TempDir(), "other.db")} {
		done, err := store.Move(t.Context(), store.Moving{From: file, To: to, DryRun: true})
		if err != nil || done.Rows != int64(len(slices.Concat(slices.Collect(maps.Values(before))...))) {
			t.Errorf("%+v, %v", done, err)
		}
	}
	if !reflect.DeepEqual(dump(t, file), before) {
		t.Error("the rehearsal changed something")
	}
	_ = s.Close()
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var n int
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'test' AND tablename <> 'clock'`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d tables were made, %v", n, err)
	}
}

// killedMove is the environment variable that tells a process of this test what to move
// and where to die: "from to point".
const killedMove = "APPLIANCE_TEST_MOVE_KILLED"

func TestMoveUntilKilled(t *testing.T) {
	job := strings.Fields(os.Getenv(killedMove))
	if len(job) != 3 {
		return // it runs as a process of the test below
	}
	_, err := store.Move(t.Context(), store.Moving{From: job[0], To: job[1]}.At(func(point string) {
		if strings.ReplaceAll(point, " ", "-") == job[2] {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}))
	t.Fatal("was not killed", err)
}

// A move that is killed, at whatever point, is restarted or completed by the same call.
// Until then the bridge either runs on what it had, or is refused with what to do.
func TestAMoveThatIsKilledIsRepeated(t *testing.T) {
	t.Parallel()
	points := []string{"table-links", "copied", "arriving", "left"}
	if os.Getenv("APPLIANCE_TEST_MOVE") == "full" {
		points = []string{"begun", "table-items", "table-links", "table-cursors", "copied", "arriving", "left", "home"}
	}
	for n, point := range points {
		for _, way := range []string{"there", "back"} {
			if n < 2 && way == "back" && len(points) < 8 {
				continue
			}
			t.Run(point+"/"+way, func(t *testing.T) {
				t.Parallel()
				from, to := used(t, 300, 40), postgresURL(t)
				before := dump(t, from)
				if way == "back" {
					move(t, from, to)
					from, to = to, from
				}
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMoveUntilKilled$")
				cmd.Env = append(os.Environ(), killedMove+"="+from+" "+to+" "+point)
				out, err := cmd.CombinedOutput()
				if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
					t.Fatalf("%v: %s", err, out)
				}
				want := 1
				if point == "left" {
					want = 0 // it can only be completed
				}
				if usable := openable(t, from) + openable(t, to); usable != want {
					t.Errorf("%d of two databases can be used", usable)
				}
				move(t, from, to)
				same(t, dump(t, to), before)
				refusedAs(t, from, "no longer in use")
				_ = open(t, to)
			})
		}
	}
}

// openable returns 1 if a bridge can start on a database.
func openable(t *testing.T, url string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := sql.Open(map[bool]string{true: "pgx", false: "sqlite"}[strings.HasPrefix(url, "postgres")], strings.Replace(url, "sqlite:", "file:", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var links int
	if db.QueryRowContext(ctx, `SELECT COUNT(*) FROM links`).Scan(&links) != nil || links == 0 {
		return 0 // a bridge could start on it, but not this one
	}
	s, err := store.Open(ctx, url)
	if err != nil {
		if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), "migrate-database") {
			t.Errorf("refused with %v", err)
		}
		return 0
	}
	_ = s.Close()
	return 1
}
