package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/mustrun"
	"appliance/bridge/queue"
	"appliance/bridge/queue/queuetest"
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// subject is one kind of database under test.
type subject struct {
	name string
	url  func(t *testing.T) string
}

var subjects = []subject{
	{"SQLite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "bridge.db") }},
	{"PostgreSQL", func(t *testing.T) string { return postgresURL(t) }},
}

// postgresURL creates a database of its own on the server that
// APPLIANCE_TEST_POSTGRES names; `make test` starts one.
func postgresURL(t testing.TB) string {
	t.Helper()
	server := os.Getenv("APPLIANCE_TEST_POSTGRES")
	if server == "" {
		mustrun.Skip(t, "APPLIANCE_TEST_POSTGRES names no server; make test starts one and runs this")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	name := fmt.Sprintf("test_%d", time.Now().UnixNano())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		admin, err := sql.Open("pgx", server)
		if err == nil {
			_, _ = admin.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)")
			_ = admin.Close()
		}
	})
	url, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	url.Path = "/" + name
	timeMachine(t, url.String())
	q := url.Query()
	q.Set("search_path", "test,pg_catalog")
	url.RawQuery = q.Encode()
	return url.String()
}

// timeMachine gives a database a clock that a test can set: a function that hides
// PostgreSQL's own.
func timeMachine(t testing.TB, url string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA test; CREATE TABLE test.clock (at timestamptz); INSERT INTO test.clock VALUES (NULL);
		CREATE FUNCTION test.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT COALESCE(at, pg_catalog.clock_timestamp()) FROM test.clock'`); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	for _, sub := range subjects {
		t.Run(sub.name, func(t *testing.T) { test(t, open(t, sub.url(t))) })
	}
}

func TestQueue(t *testing.T) {
	for _, sub := range subjects {
		t.Run(sub.name, func(t *testing.T) {
			urls := map[queuetest.Backend]string{}
			reopen := func(t *testing.T, url string) queuetest.Backend {
				s := open(t, url)
				urls[s] = url
				return s
			}
			subject := queuetest.Subject{
				Fresh: func(t *testing.T) queuetest.Backend { return reopen(t, sub.url(t)) },
				Reopen: func(t *testing.T, b queuetest.Backend) queuetest.Backend {
					b.(*store.Store).Die()
					return reopen(t, urls[b])
				},
			}
			if sub.name == "PostgreSQL" {
				subject.Travel = func(t *testing.T, b queuetest.Backend, now time.Time) {
					travel(t, urls[b], now)
					b.(*store.Store).LookNow()
				}
			}
			queuetest.Run(t, subject)
		})
	}
}

// travel sets the clock of a database; see postgresURL.
func travel(t *testing.T, url string, now time.Time) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), `UPDATE test.clock SET at = $1`, now); err != nil {
		t.Fatal(err)
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "bridge.db")
	first := open(t, url)
	if _, err := store.Open(t.Context(), url); !errors.Is(err, store.ErrInUse) {
		t.Errorf("err = %v", err)
	}
	_ = first.Close()
	open(t, url)
}

// A process that is being started has a copy of every file that is open here; this
// descriptor stands in for one.
func TestADatabaseThatIsClosedIsFreeWhileAProcessStarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bridge.db")
	first := open(t, "sqlite:"+file)
	copied := -1
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to == file+".lock" {
			fd, _ := strconv.Atoi(e.Name())
			if copied, err = syscall.Dup(fd); err != nil {
				t.Fatal(err)
			}
		}
	}
	if copied < 0 {
		t.Fatal("the lock is not open")
	}
	defer func() { _ = syscall.Close(copied) }()
	_ = first.Close()
	open(t, "sqlite:"+file)
}

func TestACursorMovesWithItsItemsOrNotAtAll(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		if _, err := s.Accept(ctx, time.Now(), []queue.Item{{ID: "1", Lane: "a"}}, map[string]string{"c": "one"}); err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.Accept(ended, time.Now(), []queue.Item{{ID: "2", Lane: "a"}}, map[string]string{"c": "two"}); err == nil {
			t.Fatal("accepted under an ended context")
		}
		known, err := s.Known(ctx, []string{"1", "2"})
		if c, cerr := s.Cursor(ctx, "c"); c != "one" || cerr != nil || err != nil || !known["1"] || known["2"] {
			t.Errorf("cursor %q, %v; known %v, %v", c, cerr, known, err)
		}
	})
}

func TestADeliveredItemIsLinkedBothWays(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		if _, err := s.Add(ctx, time.Now(), queue.Item{ID: "x", Lane: "a"}); err != nil {
			t.Fatal(err)
		}
		it, _, err := s.Claim(ctx, queue.Messages, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Done(ctx, it, []queue.Receipt{{RCRoom: "r", RCMessage: "m", MXRoom: "!r", MXEvent: "$e"}}, nil); err != nil {
			t.Fatal(err)
		}
		a, err1 := s.EventLinked(ctx, "m")
		b, err2 := s.MessageLinked(ctx, "$e")
		c, err3 := s.EventLinked(ctx, "other")
		if !a || !b || c || errors.Join(err1, err2, err3) != nil {
			t.Errorf("linked %v %v %v, %v", a, b, c, errors.Join(err1, err2, err3))
		}
		if back, err := s.Backlog(ctx); err != nil || back.Waiting != 0 || back.Dead != 0 || !back.Oldest.IsZero() {
			t.Errorf("backlog %+v, %v", back, err)
		}
	})
}

// firstOfTwo adds two items in one lane and claims the first.
func firstOfTwo(t *testing.T, s *store.Store) queue.Item {
	t.Helper()
	if _, err := s.Add(t.Context(), time.Now(), queue.Item{ID: "rc:1", Lane: "l"}, queue.Item{ID: "rc:2", Lane: "l"}); err != nil {
		t.Fatal(err)
	}
	it, _, err := s.Claim(t.Context(), queue.Messages, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// storing begins to store that an item was delivered, as the message m and the event $e, and
// returns once its lane is free.
func storing(ctx context.Context, s *store.Store, it queue.Item) <-chan error {
	free, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Done(ctx, it, []queue.Receipt{{RCRoom: "r", RCMessage: "m", MXRoom: "!r", MXEvent: "$e"}}, func() { close(free) })
	}()
	<-free
	return done
}

// The next item of a lane is begun while the disk is still busy with the last one; a query
// for the last one's link waits for it.
func TestALinkIsWaitedForWhileItIsWritten(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "bridge.db")
	s := open(t, "sqlite:"+file)
	now, it := time.Now(), firstOfTwo(t, s)
	busy, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	tx, err := busy.BeginTx(ctx, nil) // nobody else can write
	if err != nil {
		t.Fatal(err)
	}
	done := storing(ctx, s, it)
	if next, ok, err := s.Claim(ctx, queue.Messages, now); err != nil || !ok || next.ID != "rc:2" {
		t.Errorf("the next item is %q, %v, %v", next.ID, ok, err)
	}
	asked, found := make(chan struct{}), make(chan int, 1)
	go func() {
		close(asked)
		links, err := s.LinksByMessage(ctx, "m")
		if err != nil {
			t.Error(err)
		}
		found <- len(links)
	}()
	<-asked
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := <-found; n != 1 {
		t.Errorf("%d links were found", n)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A delivery waits to be written together with others, here for an hour: it is written at
// once when something needs it.
func TestWhatLingersIsWrittenWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	for what, need := range map[string]func(context.Context, *store.Store) error{
		"its links are asked for": func(ctx context.Context, s *store.Store) error {
			_, err := s.LinksByMessage(ctx, "m")
			return err
		},
		"it is in a past that is read": func(ctx context.Context, s *store.Store) error {
			linked, err := s.EventsLinked(ctx, []ids.MXEvent{"$other", "$e"})
			if !linked["$e"] {
				t.Error("the event is not linked")
			}
			return err
		},
		"the next of its lane is begun": func(ctx context.Context, s *store.Store) error {
			_, _, err := s.Claim(ctx, queue.Messages, time.Now())
			return err
		},
		"the next of its lane was delivered": func(ctx context.Context, s *store.Store) error {
			next, _, err := s.Claim(ctx, queue.Messages, time.Now())
			storing(ctx, s, next)
			return err
		},
		"something is accepted": func(ctx context.Context, s *store.Store) error {
			_, err := s.Add(ctx, time.Now(), queue.Item{ID: "rc:3", Lane: "other"})
			return err
		},
		"the store is closed": func(_ context.Context, s *store.Store) error { return s.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ctx, file := t.Context(), filepath.Join(t.TempDir(), "bridge.db")
			s := open(t, "sqlite:"+file)
			s.Linger(time.Hour)
			done := storing(ctx, s, firstOfTwo(t, s))
			other, err := sql.Open("sqlite", "file:"+file)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Close() }()
			stored := func() (n int) {
				if err := other.QueryRowContext(ctx, `SELECT COUNT(*) FROM links WHERE item = 'rc:1'`).Scan(&n); err != nil {
					t.Error(err)
				}
				return n
			}
			if err := need(ctx, s); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil || stored() != 1 {
				t.Errorf("%d links are written: %v", stored(), err)
			}
		})
	}
}

func TestReactionsAndPartsAreFound(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		if _, err := s.Add(ctx, time.Now(), queue.Item{ID: "$e", Lane: "a"}); err != nil {
			t.Fatal(err)
		}
		it, _, err := s.Claim(ctx, queue.Messages, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		want := []queue.Receipt{
			{Part: 0, RCRoom: "r", RCMessage: "m0", MXRoom: "!r", MXEvent: "$e", MXSender: "@b:y"},
			{Part: 1, RCRoom: "r", RCMessage: "m1", MXRoom: "!r", MXEvent: "$e", MXSender: "@b:y"},
		}
		if err := s.Done(ctx, it, want, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := s.LinksByEvent(ctx, "$e"); err != nil || !slices.Equal(got, want) {
			t.Errorf("links %+v, %v", got, err)
		}
		if got, err := s.LinksByMessage(ctx, "m1"); err != nil || !slices.Equal(got, want[1:]) {
			t.Errorf("links %+v, %v", got, err)
		}
		r := model.Reaction{Message: "m0", Emoji: ":smile:", User: "u", Event: "$react", MXRoom: "!r", MXSender: "@a:x"}
		if err := errors.Join(s.PutReaction(ctx, r), s.PutReaction(ctx, r)); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := s.ReactionByEvent(ctx, "$react"); got != r || !ok || err != nil {
			t.Errorf("reaction %+v, %v, %v", got, ok, err)
		}
		if err := s.DropReaction(ctx, r); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Reactions(ctx, "m0"); len(got) != 0 || err != nil {
			t.Errorf("reactions %+v, %v", got, err)
		}
		if err := s.MarkKnown(ctx, "ours"); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Add(ctx, time.Now(), queue.Item{ID: "ours", Lane: "a"}); n != 0 || err != nil {
			t.Errorf("added %d, %v", n, err)
		}
	})
}

func TestPortalsAndPeopleAreFoundByEitherID(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		p := model.Portal{RCRoom: "r", MXRoom: "!m:x", RCType: "p", MXReader: "@a:x", Created: time.UnixMilli(5).UTC()}
		if err := s.PutPortal(ctx, p, []queue.Item{{ID: "roster", Lane: "rc:r"}}, map[string]string{"rc:r": "5"}); err != nil {
			t.Fatal(err)
		}
		got, ok, err := s.PortalByMX(ctx, "!m:x")
		if !ok || err != nil || got != p {
			t.Errorf("portal %+v, %v, %v", got, ok, err)
		}
		p.MXRoom = "!n:x" // the same room, bridged again
		if err := s.PutPortal(ctx, p, nil, nil); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Portals(ctx); err != nil || len(all) != 1 || all[0].MXRoom != "!n:x" {
			t.Errorf("portals %+v, %v", all, err)
		}
		g := model.Ghost{RCUser: "u", MXUser: "@alice:x", Username: "alice", Name: "Alice"}
		if err := s.PutGhost(ctx, g); err != nil {
			t.Fatal(err)
		}
		g.Username = "alicia"
		if err := s.PutGhost(ctx, g); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := s.GhostByMX(ctx, "@alice:x"); got != g || !ok || err != nil {
			t.Errorf("ghost %+v, %v, %v", got, ok, err)
		}
		if err := s.PutPuppet(ctx, model.Puppet{MXUser: "@bob:y", RCUser: "v", Username: "Bob_y", Name: "Bob", Token: secret.New("t")}); err != nil {
			t.Fatal(err)
		}
		pup, ok, err := s.PuppetByUsername(ctx, "bob_Y")
		if !ok || err != nil || pup.RCUser != "v" || pup.Token.Reveal() != "t" {
			t.Errorf("puppet %+v, %v, %v", pup, ok, err)
		}
		if _, ok, err := s.PuppetByRC(ctx, "nobody"); ok || err != nil {
			t.Errorf("nobody was found, %v", err)
		}
	})
}

func TestTheListOfPortalsSaysThatItChanged(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		seen := map[string]string{}
		look := func(when string) {
			t.Helper()
			v, err := s.PortalsVersion(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if earlier, ok := seen[v]; ok {
				t.Errorf("%s: version %q, as %s", when, v, earlier)
			}
			seen[v] = when
		}
		p := model.Portal{RCRoom: "r", MXRoom: "!m:x", RCType: "d", RCReader: "@a:x", Created: time.UnixMilli(5).UTC()}
		look("before the first")
		if err := s.PutPortal(t.Context(), p, nil, nil); err != nil {
			t.Fatal(err)
		}
		look("with one")
		p.RCReader = "@b:x"
		if err := s.PutPortal(t.Context(), p, nil, nil); err != nil {
			t.Fatal(err)
		}
		look("with another reader")
		if err := s.MoveCursor(t.Context(), "rc:r", "5"); err != nil {
			t.Fatal(err)
		}
		if err := s.SetTitle(t.Context(), "r", "General"); err != nil {
			t.Fatal(err)
		}
		if v, err := s.PortalsVersion(t.Context()); err != nil || seen[v] != "with another reader" {
			t.Errorf("version %q is of %q, %v: nothing has changed", v, seen[v], err)
		}
		if err := s.DropPortal(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		look("without it")
	})
}

func TestTheFileWithTokensIsPrivate(t *testing.T) {
	dir := t.TempDir()
	open(t, "sqlite:"+filepath.Join(dir, "bridge.db"))
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f, st.Mode(), err)
		}
	}
}

// A dead letter that the operator drops does not come back, even when a side is re-read.
func TestADroppedDeadLetterDoesNotComeBack(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		it := queue.Item{ID: "a", Lane: "lane", Kind: "k"}
		if _, err := s.Add(ctx, time.Now(), it); err != nil {
			t.Fatal(err)
		}
		if err := s.Drop(ctx, "a"); !errors.Is(err, store.ErrNotDead) {
			t.Errorf("an item that waits was dropped: %v", err)
		}
		claimed, _, err := s.Claim(ctx, queue.Messages, time.Now())
		if err := errors.Join(err, s.GiveUp(ctx, claimed, errors.New("no such room")), s.Drop(ctx, "a")); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Add(ctx, time.Now(), it); n != 0 || err != nil {
			t.Errorf("it came back: %d, %v", n, err)
		}
		if err := s.Drop(ctx, "a"); !errors.Is(err, store.ErrNotDead) {
			t.Errorf("a second time: %v", err)
		}
	})
}

// An item is awaited until it is delivered or given up, even while it is under way.
func TestWhatIsAwaited(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		awaited := func(want bool, when string) {
			t.Helper()
			if got, err := s.Awaited(ctx, "lane", "k"); err != nil || got != want {
				t.Errorf("%s: awaited is %v, %v", when, got, err)
			}
		}
		awaited(false, "before")
		for _, it := range []queue.Item{{ID: "a", Lane: "lane", Kind: "other"}, {ID: "b", Lane: "another", Kind: "k"}} {
			if _, err := s.Add(ctx, time.Now(), it); err != nil {
				t.Fatal(err)
			}
		}
		awaited(false, "with others")
		for end, finish := range map[string]func(queue.Item) error{
			"delivered": func(it queue.Item) error { return s.Done(ctx, it, nil, nil) },
			"given up":  func(it queue.Item) error { return s.GiveUp(ctx, it, errors.New("no such room")) },
		} {
			if _, err := s.Add(ctx, time.Now(), queue.Item{ID: end, Lane: "lane", Kind: "k"}); err != nil {
				t.Fatal(err)
			}
			awaited(true, "accepted")
			for it := (queue.Item{}); it.ID != end; {
				var err error
				if it, _, err = s.Claim(ctx, queue.Messages, time.Now()); err != nil {
					t.Fatal(err)
				}
				if it.ID == end {
					awaited(true, "under way")
				}
				if err := finish(it); err != nil {
					t.Fatal(err)
				}
			}
			awaited(false, end)
		}
	})
}

func TestTheOperatorSeesWhichLanesWaitAndWhy(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		now := time.Now()
		for i, it := range []queue.Item{{ID: "a1", Lane: "a", Kind: "k"}, {ID: "b1", Lane: "b"}, {ID: "a2", Lane: "a"}} {
			if _, err := s.Add(ctx, now.Add(time.Duration(i)*time.Second), it); err != nil {
				t.Fatal(err)
			}
		}
		it, _, err := s.Claim(ctx, queue.Messages, now)
		if err == nil && it.ID == "b1" { // lanes that are claimed together have no order
			it, _, err = s.Claim(ctx, queue.Messages, now)
		}
		if err != nil || it.ID != "a1" {
			t.Fatalf("claimed %q, %v", it.ID, err)
		}
		due := now.Add(time.Hour)
		if err := s.Retry(ctx, it, now, time.Hour, true, errors.New("502")); err != nil {
			t.Fatal(err)
		}
		lanes, err := s.Lanes(ctx, 10)
		if err != nil || len(lanes) != 2 {
			t.Fatalf("lanes %+v, %v", lanes, err)
		}
		a := lanes[0]
		if a.Lane != "a" || a.Waiting != 2 || a.First != "a1" || a.Kind != "k" || a.Failures != 1 || a.Cause != "502" || a.Due.Sub(due).Abs() > time.Minute || a.Oldest.Sub(now).Abs() > time.Minute {
			t.Errorf("lane %+v", a)
		}
		if lanes[1].Lane != "b" || !lanes[1].Due.IsZero() {
			t.Errorf("lane %+v", lanes[1])
		}
	})
}

func TestWhatWasGivenUpCanBeTriedAgain(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"a", "b"} {
			_, err := s.Add(ctx, time.Now(), queue.Item{ID: id, Lane: "lane", Kind: "k", Payload: []byte("secret " + id)})
			check(err)
		}
		it, _, err := s.Claim(ctx, queue.Messages, time.Now())
		check(err)
		check(s.GiveUp(ctx, it, errors.New("no such room")))
		list, err := s.DeadLetters(ctx, 10)
		check(err)
		if len(list) != 1 || list[0].ID != "a" || list[0].Cause != "no such room" || list[0].Attempts != 1 || list[0].GaveUp.IsZero() {
			t.Fatalf("given up: %+v", list)
		}
		check(s.Revive(ctx, "a"))
		if err := s.Revive(ctx, "a"); !errors.Is(err, store.ErrNotDead) {
			t.Errorf("a second time: %v", err)
		}
		for _, want := range []string{"b", "a"} { // behind the items that waited
			it, ok, err := s.Claim(ctx, queue.Messages, time.Now())
			check(err)
			if !ok || it.ID != want || string(it.Payload) != "secret "+want {
				t.Fatalf("claimed %+v, %v; want %s", it, ok, want)
			}
			if want == "a" && it.Attempts != 1 {
				t.Errorf("attempts = %d", it.Attempts)
			}
			check(s.Done(ctx, it, nil, nil))
		}
	})
}

// What is known about a message is found in one query, for one message as for hundreds.
func TestWhatWasSeenIsKnown(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		mustWrite(t, s.MarkKnown(t.Context(), "done"))
		if _, err := s.Accept(t.Context(), time.Now(), []queue.Item{{ID: "waits", Lane: "rc:r"}}, map[string]string{"rc:r": "17"}); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, s.PutReaction(t.Context(), model.Reaction{Message: "m", Emoji: ":smile:", User: "u", Event: "$r", MXRoom: "!m:x", MXSender: "@alice:x"}))
		want := model.Seen{Items: map[string]bool{"done": true, "waits": true}, Cursors: map[string]string{"rc:r": "17"}, Reacted: map[ids.RCMessage]bool{"m": true}}
		for _, others := range []int{0, 1, 250} {
			items, cursors, messages := []string{"done", "waits"}, []string{}, []ids.RCMessage{}
			for n := range others {
				items, cursors, messages = append(items, fmt.Sprint(n)), append(cursors, fmt.Sprint(n)), append(messages, ids.RCMessage(fmt.Sprint(n)))
			}
			got, err := s.Seen(t.Context(), items, append(cursors, "rc:r"), append(messages, "m"))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("beside %d others: %+v, %v; want %+v", others, got, err, want)
			}
		}
	})
}

func TestAWriteThatComesWhileTheStoreIsClosedFails(t *testing.T) {
	s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { failed <- s.WriteLate() }()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("it is said to be written")
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
}
