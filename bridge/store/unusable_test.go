package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// TestMain makes this program open a database in a process of its own, if a test wants
// that process to have another disk.
func TestMain(m *testing.M) {
	if dir := os.Getenv(smallDisk); dir != "" {
		if err := onSmallDisk(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// filledFile returns a database in which items wait.
func filledFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bridge.db")
	s, err := store.Open(t.Context(), "sqlite:"+file)
	if err != nil {
		t.Fatal(err)
	}
	var items []queue.Item
	for n := range 200 {
		items = append(items, queue.Item{ID: fmt.Sprint("item ", n), Lane: "l", Kind: "k", Payload: bytes.Repeat([]byte("x"), 500)})
	}
	if _, err := s.Add(t.Context(), time.Now(), items...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// contents returns the hashes of a file and of those beside it, except locks.
func contents(t *testing.T, file string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	all, _ := filepath.Glob(file + "*")
	for _, name := range all {
		if data, err := os.ReadFile(name); err == nil && !strings.HasSuffix(name, ".lock") && !strings.HasSuffix(name, "-shm") && (len(data) > 0 || !strings.HasSuffix(name, "-wal")) {
			out[filepath.Base(name)] = sha256.Sum256(data)
		}
	}
	return out
}

// refuses checks that a database is refused with a sentence that contains all the words.
func refuses(t *testing.T, database string, words ...string) {
	t.Helper()
	s, err := store.Open(t.Context(), database)
	if err == nil {
		_ = s.Close()
		t.Fatal("it was opened")
	}
	if !errors.Is(err, store.ErrUnusable) {
		t.Errorf("it is another error: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "only-for-tests") {
		t.Errorf("it is no sentence, or holds the password: %q", err)
	}
}

func overwrite(t *testing.T, file string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func execSQLite(t *testing.T, file string, queries ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
}

// A file that is not a sound database of this release is refused with an error that
// names it and says what to do, and is left unchanged.
func TestABrokenFileIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, file string)
		words []string
	}{
		{"pages overwritten", func(t *testing.T, file string) { overwrite(t, file, 3*4096, bytes.Repeat([]byte{0xa5}, 20*4096)) }, []string{"is damaged", "appliance restore"}},
		{"schema overwritten", func(t *testing.T, file string) { overwrite(t, file, 100, bytes.Repeat([]byte{0xa5}, 3000)) }, []string{"is damaged", "appliance restore"}},
		{"truncated", func(t *testing.T, file string) {
			info, _ := os.Stat(file)
			if err := os.Truncate(file, info.Size()/2); err != nil {
				t.Fatal(err)
			}
		}, []string{"is truncated", "bytes", "appliance restore"}},
		{"truncated to nothing, with a log", func(t *testing.T, file string) {
			if err := errors.Join(os.Truncate(file, 0), os.WriteFile(file+"-wal", []byte("left"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}, []string{"is empty", "-wal", "appliance restore"}},
		{"no database", func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte("homeserver: {url: https://chat.example.org}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"is no SQLite database", "bridge.yaml"}},
		{"of another program", func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			execSQLite(t, file, `CREATE TABLE items (name TEXT, price INTEGER)`, `INSERT INTO items VALUES ('soup', 4)`)
		}, []string{"belongs to another program", "items", "bridge.yaml"}},
		{"of another program that numbers its schema alike", func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			execSQLite(t, file, `CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY, version_id INTEGER, is_applied INTEGER, tstamp TIMESTAMP)`,
				`INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (3, 1)`, `CREATE TABLE meals (name TEXT)`)
		}, []string{"belongs to another program", "bridge.yaml"}},
		{"of a newer release", func(t *testing.T, file string) {
			execSQLite(t, file, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9001, 1)`, `UPDATE compatible SET oldest = 9000`)
		}, []string{"newer release", "9001", "appliance restore"}},
		{"of a newer release that was killed", func(t *testing.T, file string) {
			// The schema version is in the log alone.
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite", "file:"+file+"?_pragma=wal_autocheckpoint(0)")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9001, 1); UPDATE compatible SET oldest = 9001`); err != nil {
				t.Fatal(err)
			}
			wal, err := os.ReadFile(file + "-wal")
			if err != nil || len(wal) == 0 {
				t.Fatal("there is no log", err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.WriteFile(file, data, 0o600), os.WriteFile(file+"-wal", wal, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, []string{"newer release", "9001"}},
		{"a folder", func(t *testing.T, file string) {
			if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, []string{"is a folder", "bridge.yaml"}},
		{"a device", func(t *testing.T, file string) {
			if err := errors.Join(os.Remove(file), os.Symlink("/dev/null", file)); err != nil {
				t.Fatal(err)
			}
		}, []string{"is no regular file", "bridge.yaml"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := filledFile(t)
			tc.spoil(t, file)
			before := contents(t, file)
			refuses(t, "sqlite:"+file, append(tc.words, file)...)
			if after := contents(t, file); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("it was changed: %x, then %x", before, after)
			}
		})
	}
}

// A folder that does not exist is not created: the volume may not be mounted.
func TestADatabaseInNoFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "volume")
	refuses(t, "sqlite:"+filepath.Join(dir, "bridge.db"), dir, "folder")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
}

// The bridge waits for a database that another program has locked, then refuses it.
func TestADatabaseThatAnotherProgramHasLockedIsRefused(t *testing.T) {
	t.Parallel()
	file := filledFile(t)
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=locking_mode(EXCLUSIVE)&_txlock=exclusive")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, "sqlite:"+file, file, "is locked by another program", "close")
	if err := errors.Join(tx.Rollback(), db.Close()); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+file)
}

// Without the log beside it a database is what it was at the last checkpoint: items
// accepted since then come again, because both sides are read from their cursors.
func TestADatabaseWithoutItsLogIsOpened(t *testing.T) {
	t.Parallel()
	file := filledFile(t)
	s := open(t, "sqlite:"+file)
	if _, err := s.Accept(t.Context(), time.Now(), []queue.Item{{ID: "late", Lane: "l"}}, map[string]string{"c": "after late"}); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "bridge.db")
	data, err := os.ReadFile(file)
	if err := errors.Join(err, os.WriteFile(copied, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	older := open(t, "sqlite:"+copied)
	known, err := older.Known(t.Context(), []string{"item 199", "late"})
	cursor, cerr := older.Cursor(t.Context(), "c")
	if err := errors.Join(err, cerr); err != nil || !known["item 199"] || known["late"] || cursor != "" {
		t.Errorf("known %v, cursor %q, %v", known, cursor, err)
	}
}

// smallDisk names the folder on which onSmallDisk mounts a disk.
const smallDisk = "APPLIANCE_TEST_SMALL_DISK"

// ownDisk runs this program with a small disk of its own, mounted where no other process sees it.
func ownDisk(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this test binary; it ends by itself
	cmd.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "mount: ") {
		mustrun.Skip(t, fmt.Sprintf("nothing can be mounted here: %v %s; make test runs as root", err, out))
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// A disk that is full when the bridge starts, or fills up while it runs, loses nothing; a
// read-only one is named.
func TestADiskThatIsFullOrReadOnly(t *testing.T) {
	t.Parallel()
	ownDisk(t)
}

// onSmallDisk is the part of the test that runs in a process of its own.
func onSmallDisk(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	file, filler := filepath.Join(dir, "bridge.db"), filepath.Join(dir, "filler")
	fill := func() error {
		err := os.WriteFile(filler, make([]byte, 2<<20), 0o600) // as much as fits
		if !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("the disk is not full: %w", err)
		}
		return nil
	}
	if err := fill(); err != nil {
		return err
	}
	if err := says(file, "disk is full", "free some space"); err != nil {
		return err
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+file)
	if err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	if err := fill(); err != nil {
		return err
	}
	accepted := 0
	for err == nil && accepted < 10_000 {
		if _, err = s.Add(ctx, time.Now(), queue.Item{ID: fmt.Sprint(accepted), Lane: "l", Payload: make([]byte, 4000)}); err == nil {
			accepted++
		}
	}
	if err == nil || !strings.Contains(err.Error(), "full") {
		return fmt.Errorf("%d were accepted on a full disk: %w", accepted, err)
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	if _, err := s.Add(ctx, time.Now(), queue.Item{ID: "after", Lane: "l"}); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	back, err := s.Backlog(ctx)
	if err := errors.Join(err, s.Close()); err != nil || back.Waiting != int64(accepted+1) {
		return fmt.Errorf("%d wait of %d: %w", back.Waiting, accepted+1, err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return says(file, "is read-only", "writable")
}

// says opens an unusable database, and looks for words in the error.
func says(file string, words ...string) error {
	s, err := store.Open(context.Background(), "sqlite:"+file)
	if err == nil {
		return errors.Join(errors.New("it was opened"), s.Close())
	}
	if !errors.Is(err, store.ErrUnusable) || slices.ContainsFunc(append(words, file), func(w string) bool { return !strings.Contains(err.Error(), w) }) {
		return fmt.Errorf("it says %w, without all of %q", err, words)
	}
	return nil
}

// A PostgreSQL database that is unfit for the bridge is refused with a sentence, and left
// unchanged.
func TestAPostgreSQLThatIsUnfitIsRefused(t *testing.T) {
	t.Parallel()
	server := os.Getenv("APPLIANCE_TEST_POSTGRES")
	if server == "" {
		mustrun.Skip(t, "APPLIANCE_TEST_POSTGRES names no server; make test starts one and runs this")
	}
	for _, tc := range []struct {
		name, options string
		before        []string
		user          bool   // opened as a user without rights
		query         string // added to the address
		words         []string
	}{
		{"another encoding", "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0", nil, false, "", []string{"LATIN1", "UTF8"}},
		{"no rights", "", []string{`REVOKE ALL ON SCHEMA public FROM PUBLIC`}, true, "", []string{"GRANT"}},
		{"read-only", "", nil, false, "&default_transaction_read_only=on", []string{"read-only"}},
		{"of another program", "", []string{`CREATE TABLE items (name text)`, `INSERT INTO items VALUES ('soup')`}, false, "", []string{"another program", "items"}},
		{"of another program that numbers its schema alike", "", []string{
			`CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint, is_applied boolean, tstamp timestamp)`,
			`INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (3, true)`,
		}, false, "", []string{"another program"}},
		{"of a newer release", "", []string{
			`CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint, is_applied boolean, tstamp timestamp)`,
			`INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (9001, true)`, `CREATE TABLE items (seq bigint)`, `CREATE TABLE links (item text)`,
		}, false, "", []string{"newer release", "9001", "appliance restore"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			u, db := bareDatabase(t, server, tc.options, tc.before)
			tables := func() string { return state(t, db) }
			before := tables()
			if tc.user {
				role := "poor_" + strings.TrimPrefix(u.Path, "/")
				if _, err := db.ExecContext(t.Context(), `CREATE ROLE `+role+` LOGIN PASSWORD 'only-for-tests'`); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _, _ = db.ExecContext(context.Background(), `DROP ROLE `+role) })
				u.User = url.UserPassword(role, "only-for-tests")
			}
			u.RawQuery += tc.query
			refuses(t, u.String(), append(tc.words, strings.TrimPrefix(u.Path, "/"))...)
			if after := tables(); after != before {
				t.Errorf("it was changed: %s, then %s", before, after)
			}
		})
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/there_is_no_such_database"
	refuses(t, u.String(), "there_is_no_such_database", "does not exist", "CREATE DATABASE")
}

// bareDatabase creates a database and runs statements in it.
func bareDatabase(t *testing.T, server, options string, queries []string) (*url.URL, *sql.DB) {
	t.Helper()
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("unfit_%d", time.Now().UnixNano())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name+" "+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		_ = admin.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	return u, db
}

// state lists the tables of a database with their sizes and files.
func state(t *testing.T, db *sql.DB) string {
	t.Helper()
	var out string
	if err := db.QueryRowContext(t.Context(), `SELECT COALESCE(string_agg(n.nspname || '.' || c.relname || ' ' || pg_relation_size(c.oid) || ' ' || c.relfilenode, ',' ORDER BY 1), '')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
