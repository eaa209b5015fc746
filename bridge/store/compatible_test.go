package store_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// The next release, as far as the database goes: it adds, and declares what is compatible with it.
const (
	nextRelease = `-- +goose Up
ALTER TABLE portals ADD COLUMN colour TEXT NOT NULL DEFAULT '';
ALTER TABLE items ADD COLUMN weight BIGINT NOT NULL DEFAULT 0;
CREATE TABLE colours (name TEXT PRIMARY KEY);
`
	breakingRelease = nextRelease + `UPDATE compatible SET oldest = 9000;
`
)

// releaseAfter returns the schema of the next release.
func releaseAfter(t *testing.T, migration string) fs.FS {
	t.Helper()
	all := fstest.MapFS{"09000_next.sql": {Data: []byte(migration)}}
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = &fstest.MapFile{Data: data}
	}
	return all
}

// During a rolling upgrade processes of this release and of the next one share a
// PostgreSQL, and one of this release may even be restarted: every item is delivered once
// and in order.
func TestThisReleaseAndTheNextShareADatabase(t *testing.T) {
	t.Parallel()
	url := postgresURL(t)
	const lanes, each = 8, 60
	r := newReceiver()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running sync.WaitGroup
	run := func(name string, s *store.Store) {
		w := r.worker(name, s, lanes)
		running.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	first := open(t, url)
	run("this", first)
	addRound(t, first, lanes, 0, each)
	next, err := store.Open(t.Context(), url, store.WithSchema(releaseAfter(t, nextRelease)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Close() })
	run("next", next)
	addRound(t, next, lanes, 1, each)
	again := open(t, url)
	run("this again", again)
	addRound(t, again, lanes, 2, each)
	addRound(t, first, lanes, 3, each)
	for deadline := time.Now().Add(time.Minute); r.count() < lanes*each*4; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d arrived", r.count(), lanes*each*4)
		}
	}
	stop()
	running.Wait()
	r.check(t, lanes, 4, each)
	t.Logf("delivered by each: %v", r.by)
}

// A release that changes what this one relies on declares that, and this one refuses
// the database; a release that only adds can be rolled back.
func TestWhichNewerReleaseIsRefused(t *testing.T) {
	for _, sub := range subjects {
		t.Run(sub.name, func(t *testing.T) {
			t.Parallel()
			for _, tc := range []struct {
				migration string
				refused   bool
			}{{nextRelease, false}, {breakingRelease, true}} {
				url := sub.url(t)
				next, err := store.Open(t.Context(), url, store.WithSchema(releaseAfter(t, tc.migration)))
				if err != nil {
					t.Fatal(err)
				}
				add(t, next, queue.Item{ID: "$one", Lane: "mx:!r"})
				if err := next.Close(); err != nil {
					t.Fatal(err)
				}
				if tc.refused {
					refusedAs(t, url, "newer release", "9000", "appliance restore")
					continue
				}
				if it := nextItem(t, url); it != "$one" {
					t.Errorf("found %q", it)
				}
			}
		})
	}
}

func nextItem(t *testing.T, url string) string {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = s.Close() }()
	return next(t.Context(), t, s).ID
}

// breaks matches what the release before a migration cannot work with.
var breaks = regexp.MustCompile(`(?i)\bDROP\b|\bRENAME\b|\bALTER\s+COLUMN\b|\bADD\s+CONSTRAINT\b|\bTRUNCATE\b`)

// addsMandatory reports whether a migration adds a column that the release before it does
// not fill.
func addsMandatory(up string) bool {
	for line := range strings.Lines(up) {
		upper := strings.ToUpper(line)
		if strings.Contains(upper, "ADD COLUMN") && strings.Contains(upper, "NOT NULL") && !strings.Contains(upper, "DEFAULT") {
			return true
		}
	}
	return false
}

// needsMark reports whether a migration must raise the oldest schema compatible with
// its own, and does not.
func needsMark(migration string) bool {
	up, _, _ := strings.Cut(migration, "-- +goose Down")
	return (breaks.MatchString(up) || addsMandatory(up)) && !strings.Contains(up, "UPDATE compatible SET oldest")
}

// A migration that the previous release cannot work with says so: otherwise that release
// would go on writing during a rolling upgrade.
func TestAMigrationAddsOrSaysThatItBreaks(t *testing.T) {
	for text, want := range map[string]bool{
		nextRelease: false, "ALTER TABLE items DROP COLUMN kind;": true, "ALTER TABLE items ADD COLUMN x TEXT NOT NULL;": true,
		"ALTER TABLE items RENAME COLUMN kind TO sort; UPDATE compatible SET oldest = 12;": false, "CREATE TABLE x (y TEXT NOT NULL);\n-- +goose Down\nDROP TABLE x;": false,
	} {
		if needsMark(text) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) > "00010" && needsMark(string(data)) {
			t.Errorf("%s breaks the release before it: add UPDATE compatible SET oldest = (its number)", name)
		}
	}
}

// addRound adds the items of one sender to every lane, through one process.
func addRound(t *testing.T, s *store.Store, lanes, sender, each int) {
	t.Helper()
	for n := range each {
		var items []queue.Item
		for l := range lanes {
			lane := fmt.Sprint("lane", l)
			items = append(items, queue.Item{ID: fmt.Sprintf("%s-%d-%d", lane, sender, n), Lane: lane})
		}
		add(t, s, items...)
	}
}
