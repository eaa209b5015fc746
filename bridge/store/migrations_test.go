package store_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// published holds the migrations that existing databases were created with. Changing one
// would make new databases differ from those. A new migration is added here when it lands.
var published = map[string]string{
	"00001_initial.sql":          "3aed2418cb901f8ad3becb307aef690190d83ff7d976e35e1df91231639d672d",
	"00002_changes.sql":          "87d9badb5203292b9255c12754d61a782e8323d10207b744630653c127542113",
	"00003_media.sql":            "02f9b7b16dfba80d8b1a2f3c83fd432b2befba98b6f5dba22c85822f1a128452",
	"00004_marks_edits.sql":      "1423c8131a74ea8d7d85a937a587db6602dce1f34edca420fe230d2f395c416e",
	"00005_leases.sql":           "5840e2dfd54e4d0bcc32c23601b45c2e93654b4fd522fa4ed8cce96bf000b742",
	"00006_listings.sql":         "878b74058844dbd6b6a87df5cdb8acfed04dea28c4b442c77deb4b1406fe97da",
	"00007_console_sessions.sql": "53d32a4f0630fdb3def3fb347cd5f03b9a706a9b3856fb17728fca8a275c6067",
	"00008_doubles.sql":          "3762f8932e1100e2535e176c4a253c7c8f331ca28cdce6b6861433158b138a47",
	"00009_dead_groups.sql":      "c15f8aefca661aff16a40f8daeee16933940be09713ed572a0e852f2f3ae3fcf",
	"00010_compatible_moves.sql": "247a329f1f26f5bab744b8d3a9e969db395d6994ba659a675fe8c6eaace036d1",
	"00011_edit_times.sql":       "3527ed158286583d722dfd4280adccc0dbd576ad342f4905565e7a09dd76c8b7",
}

func TestAPublishedMigrationStaysAsItIs(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); published[name] == "" {
			t.Errorf("%s is not in the list: add it once it is final", name)
		}
	}
	for name, want := range published {
		data, err := os.ReadFile(filepath.Join("migrations", name))
		if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is another: %x, %v", name, sum, err)
		}
	}
}

// left is what an earlier release had in its database, by the schema version that made
// it possible.
var left = map[int64][]string{
	1: {
		`INSERT INTO items (seq, id, lane, kind, payload, accepted) VALUES (7, '$first', 'mx:!m:x', 'k', 'one', 1), (8, '$second', 'mx:!m:x', 'k', 'two', 2)`,
		`INSERT INTO items (seq, id, lane, kind, payload, accepted, attempts, failures, cause, buried) VALUES (5, '$dead', 'mx:!m:x', 'k', 'dead', 1, 3, 2, 'refused', 4)`,
		`INSERT INTO lanes (lane, waiting, due, held) VALUES ('mx:!m:x', 1, 0, 0)`,
		`INSERT INTO done (id, at) VALUES ('$delivered', 9000000000000)`,
		`INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event) VALUES ('$delivered', 0, 'r', 'm', '!m:x', '$delivered')`,
		`INSERT INTO portals (rc_room, mx_room, rc_type, rc_reader, mx_reader, created) VALUES ('r', '!m:x', 'p', '', '@alice:x', 5)`,
		`INSERT INTO ghosts (rc_user, mx_user, username, name) VALUES ('u', '@alice:x', 'alice', 'Alice')`,
		`INSERT INTO puppets (mx_user, rc_user, username, name, token) VALUES ('@bob:y', 'v', 'bob_y', 'Bob', 'token')`,
		`INSERT INTO cursors (name, value) VALUES ('rc:r', '17')`,
	},
	2: {`INSERT INTO reactions (rc_message, emoji, rc_user, mx_event, mx_room, mx_sender) VALUES ('m', ':smile:', 'u', '$reaction', '!m:x', '@alice:x')`},
	3: {`INSERT INTO media (source, target, info, at) VALUES ('rc:file', 'mxc://x/y', '', 9000000000000)`},
	4: {`INSERT INTO edits (event, target) VALUES ('$edit', '$delivered')`},
}

// A database of every past schema is brought up to date: waiting items are delivered
// in order, delivered ones stay so, and everything that was known still is.
func TestADatabaseOfEveryReleaseIsBroughtUpToDate(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, sub := range subjects {
		for version := int64(1); version <= int64(len(files)); version++ {
			if sub.name == "PostgreSQL" && version != 1 && version != 4 && version < int64(len(files))-1 {
				continue // the statements are the same; these are the ones whose lanes differ
			}
			t.Run(fmt.Sprint(sub.name, "/schema ", version), func(t *testing.T) {
				t.Parallel()
				url := sub.url(t)
				older(t, url, version)
				s := open(t, url)
				keptAll(t, s, version)
			})
		}
	}
}

// older creates a database as it was with a version of the schema.
func older(t *testing.T, url string, version int64) {
	t.Helper()
	driver, dialect, dsn := "pgx", goose.DialectPostgres, url
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, dialect, dsn = "sqlite", goose.DialectSQLite3, "file:"+file
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p, err := goose.NewProvider(dialect, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for from := int64(1); from <= version; from++ {
		for _, q := range left[from] {
			if _, err := db.ExecContext(t.Context(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
}

// keptAll checks that everything in left is still there.
func keptAll(t *testing.T, s *store.Store, version int64) {
	t.Helper()
	ctx := t.Context()
	if n, err := s.Add(ctx, time.Now(), queue.Item{ID: "$delivered", Lane: "mx:!m:x"}, queue.Item{ID: "$dead", Lane: "mx:!m:x"}, queue.Item{ID: "$new", Lane: "mx:!m:x"}); n != 1 || err != nil {
		t.Errorf("%d were new of one, %v", n, err)
	}
	for _, want := range []string{"$first one", "$second two", "$new "} {
		it := next(ctx, t, s)
		if got := it.ID + " " + string(it.Payload); got != want {
			t.Errorf("delivered %q, want %q", got, want)
		}
		if err := s.Done(ctx, it, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := s.DeadItems(ctx)
	if err != nil || len(dead) != 1 || dead[0].ID != "$dead" || dead[0].Failures != 2 {
		t.Errorf("dead letters %+v, %v", dead, err)
	}
	links, err := s.LinksByEvent(ctx, "$delivered")
	if err != nil || len(links) != 1 || links[0].RCMessage != "m" {
		t.Errorf("links %+v, %v", links, err)
	}
	p, ok, err := s.PortalByMX(ctx, "!m:x")
	if !ok || err != nil || p.RCRoom != "r" || p.MXReader != "@alice:x" {
		t.Errorf("portal %+v, %v", p, err)
	}
	g, gok, gerr := s.GhostByMX(ctx, "@alice:x")
	pup, pok, perr := s.PuppetByMX(ctx, "@bob:y")
	cursor, cerr := s.Cursor(ctx, "rc:r")
	if err := errors.Join(gerr, perr, cerr); err != nil || !gok || !pok || g.RCUser != "u" || pup.Token.Reveal() != "token" || cursor != "17" {
		t.Errorf("ghost %+v, puppet %v, cursor %q, %v", g, pup.RCUser, cursor, err)
	}
	if version >= 2 {
		if r, ok, err := s.ReactionByEvent(ctx, "$reaction"); !ok || err != nil || r.Emoji != ":smile:" {
			t.Errorf("reaction %+v, %v", r, err)
		}
	}
	if version >= 3 {
		if f, ok, err := s.File(ctx, "rc:file"); !ok || err != nil || f.Target != "mxc://x/y" {
			t.Errorf("file %+v, %v", f, err)
		}
	}
	if version >= 4 {
		if target, ok, err := s.EditOf(ctx, "$edit"); !ok || err != nil || target != "$delivered" {
			t.Errorf("edit of %q, %v", target, err)
		}
	}
}

// next claims an item, and waits for it a little: another process may have had its lane.
func next(ctx context.Context, t *testing.T, s *store.Store) queue.Item {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		it, ok, err := s.Claim(ctx, queue.Messages, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return it
		}
		s.LookNow()
	}
	t.Fatal("nothing can be claimed")
	return queue.Item{}
}
