package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/store"
)

// deliver stores an item as delivered, with a link between a message and an event.
func deliver(t *testing.T, s *store.Store, message, event string) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.Add(ctx, time.Now(), queue.Item{ID: event, Lane: "a"}); err != nil {
		t.Fatal(err)
	}
	it, ok, err := s.Claim(ctx, queue.Messages, time.Now())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := s.Done(ctx, it, []queue.Receipt{{RCRoom: "r", RCMessage: message, MXRoom: "!r", MXEvent: event}}, nil); err != nil {
		t.Fatal(err)
	}
}

// Captions can be edited, and edits redacted, for as long as their message exists.
func TestAYearOfPruningKeepsWhatIsNeeded(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		deliver(t, s, "m1", "$photo")
		now := time.Now()
		for _, f := range []model.File{{Source: model.MXFile("$photo"), Target: "upload"}, {Source: model.MXFile("$neverShown"), Target: "upload2"}, {Source: model.RCFile("f"), Target: "mxc://a/b"}} {
			f.At = now
			if err := s.PutFile(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		for event, target := range map[ids.MXEvent]ids.MXEvent{"$edit": "$photo", "$orphan": "$unknown"} {
			if err := s.PutEdit(ctx, event, target); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.MoveCursor(ctx, "avatar u1", "etag"); err != nil {
			t.Fatal(err)
		}
		mark, err := s.PuppetMark(ctx, "@bob:far")
		if err != nil || len(mark) < 26 {
			t.Fatalf("mark %q, %v", mark, err)
		}
		for day := range 365 {
			if err := s.Prune(ctx, now.AddDate(0, 0, day)); err != nil {
				t.Fatal(err)
			}
		}
		for source, want := range map[string]bool{model.MXFile("$photo"): true, model.MXFile("$neverShown"): false, model.RCFile("f"): true} {
			if _, ok, err := s.File(ctx, source); ok != want || err != nil {
				t.Errorf("file %s: %v, %v, want %v", source, ok, err, want)
			}
		}
		if target, ok, err := s.EditOf(ctx, "$edit"); target != "$photo" || !ok || err != nil {
			t.Errorf("the edit of the photo is forgotten: %q, %v, %v", target, ok, err)
		}
		if _, ok, _ := s.EditOf(ctx, "$orphan"); ok {
			t.Error("an edit of nothing is kept")
		}
		if etag, err := s.Cursor(ctx, "avatar u1"); etag != "etag" || err != nil {
			t.Errorf("the picture is forgotten: %q, %v", etag, err)
		}
		if again, err := s.PuppetMark(ctx, "@bob:far"); again != mark || err != nil {
			t.Errorf("the mark changed to %q, %v", again, err)
		}
	})
}

// An installation of the previous release has edits among its files, and may have
// hints of any size.
func TestEditsOfTheReleaseBeforeAreKeptAndItsHintsAreNot(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "bridge.db")
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	old, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.UpTo(ctx, 3); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO media (source, target, info, at) VALUES ('mx:edit:$e', '$t', '', 1)`,
		`INSERT INTO items (seq, id, lane, kind, payload, accepted) VALUES (1, 'hint 1', 'hint:@x', 'mx.hint', zeroblob(1000000), 1), (2, '$m', 'mx:!r', 'mx.message', '{}', 1)`,
		`INSERT INTO lanes (lane, waiting, due, held) VALUES ('hint:@x', 1, 1, 0)`,
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, "sqlite:"+file)
	if target, ok, err := s.EditOf(ctx, "$e"); target != "$t" || !ok || err != nil {
		t.Errorf("the edit is %q, %v, %v", target, ok, err)
	}
	if b, err := s.Backlog(ctx); b.Waiting != 1 || err != nil {
		t.Errorf("waiting: %+v, %v", b, err)
	}
	if it, ok, err := s.Claim(ctx, queue.Messages, time.Now()); it.ID != "$m" || !ok || err != nil {
		t.Errorf("claimed %q, %v, %v", it.ID, ok, err)
	}
}
