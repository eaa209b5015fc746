package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrUnusable is wrapped by Open when it refuses a database because of its kind or its
// state. Nothing was written to it.
var ErrUnusable = errors.New("the database cannot be used")

// unusable is why a database is refused, and what to do about it.
type unusable struct{ fact, hint string }

// Error implements error.
func (u *unusable) Error() string { return u.fact + "; " + u.hint }

// Unwrap implements the interface of package errors.
func (*unusable) Unwrap() error { return ErrUnusable }

func refused(hint, format string, args ...any) error {
	return &unusable{fact: "the database " + fmt.Sprintf(format, args...), hint: hint}
}

const (
	hintBackup  = "move it away and put the last backup in its place: appliance restore FILE"
	hintForeign = "name another one as database in bridge.yaml"
	hintSpace   = "free some space and start the bridge again; nothing was lost"
	hintClose   = "close what has it open and start the bridge again"
	hintNewer   = "run the release that wrote it, or restore the backup that the upgrade made: appliance restore FILE"
)

// checkedUpTo is the size, in bytes, up to which a file is checked in full before use.
// Checking a larger one would slow down every start; damage in it shows when it is read.
const checkedUpTo = 64 << 20

// sqliteMagic is the beginning of a database file (https://sqlite.org/fileformat2.html).
var sqliteMagic = []byte("SQLite format 3\x00")

// examinePlace refuses a name that cannot be that of a database. A file that does not
// exist or is empty is a new database.
func examinePlace(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(file)); errors.Is(err, fs.ErrNotExist) {
			return refused("make the folder, or name another file as database in bridge.yaml", "%s is in a missing folder", file)
		}
	case err != nil:
		return explained(file, err)
	case info.IsDir():
		return refused("name a file in it as database in bridge.yaml", "%s is a folder", file)
	case !info.Mode().IsRegular():
		return refused(hintForeign, "%s is no regular file", file)
	}
	return nil
}

// examineSQLite refuses a file that is not an intact database of the bridge, and changes
// nothing.
func examineSQLite(ctx context.Context, file string, schema fs.FS) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return explained(file, err)
	case info.Size() == 0:
		if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
			return refused(hintBackup, "%s is empty and %s-wal beside it is not: it was truncated", file, file)
		}
		return nil
	}
	if err := examineHeader(file, info.Size()); err != nil {
		return err
	}
	return examineContent(ctx, file, info.Size(), schema)
}

// examineHeader checks the first bytes of a file.
func examineHeader(file string, size int64) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0) //nolint:gosec // the operator names the file
	if err != nil {
		return explained(file, err)
	}
	defer func() { _ = f.Close() }()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return explained(file, err)
	}
	if !bytes.HasPrefix(header, sqliteMagic) {
		return refused(hintForeign, "%s is no SQLite database", file)
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 65536
	}
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		return nil // the rest may be in there
	}
	if want := page * int64(binary.BigEndian.Uint32(header[28:])); size < want {
		return refused(hintBackup, "%s is truncated: it has %d of %d bytes", file, size, want)
	}
	return nil
}

// examineContent checks whether a file is the bridge's database, and intact.
func examineContent(ctx context.Context, file string, size int64, schema fs.FS) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return explained(file, err)
	}
	defer func() { _ = db.Close() }()
	if size <= checkedUpTo {
		var found string
		if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); err != nil {
			return explained(file, err)
		}
		if found != "ok" {
			return refused(hintBackup, "%s is damaged: %s", file, strings.Join(strings.Fields(found), " "))
		}
	}
	return examineSchema(ctx, db, file, tablesOfSQLite, schema)
}

const (
	tablesOfSQLite   = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	tablesOfPostgres = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`
)

// versionTable is where goose records which migrations have run.
const versionTable = "goose_db_version"

// querier is a database or a connection.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// examineSchema refuses a database, or a schema in one, that was made by another program,
// or by a newer release with a schema that this one cannot work with.
func examineSchema(ctx context.Context, db querier, name, listTables string, schema fs.FS) error {
	tables, err := tableNames(ctx, db, listTables)
	if err != nil {
		return explained(name, err)
	}
	if !tables[versionTable] {
		for _, ours := range []string{"items", "lanes", "done", "links", "portals", "ghosts", "puppets", "cursors"} {
			if tables[ours] {
				return refused(hintForeign, "%s belongs to another program: it has a table %s that this one did not make", name, ours)
			}
		}
		return nil
	}
	var has int64
	if err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM `+versionTable+` WHERE is_applied`).Scan(&has); err != nil {
		return explained(name, err)
	}
	if has > 0 && (!tables["items"] || !tables["links"]) {
		return refused(hintForeign, "%s belongs to another program: its tables are not the bridge's", name)
	}
	knows, err := newestMigration(schema)
	if err != nil || has <= knows {
		return err
	}
	if tables["compatible"] {
		oldest := has
		if err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(oldest), 0) FROM compatible`).Scan(&oldest); err != nil {
			return explained(name, err)
		}
		if oldest > 0 && oldest <= knows {
			return nil // as during a rolling upgrade, and on the way back from one
		}
	}
	return refused(hintNewer, "%s is of a newer release: it has schema %d, and this release knows %d", name, has, knows)
}

func tableNames(ctx context.Context, db querier, query string) (map[string]bool, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		out[name] = true
	}
	return out, rows.Err()
}

// newestMigration returns the schema version that a release's migrations lead to.
func newestMigration(schema fs.FS) (int64, error) {
	files, err := fs.Glob(schema, "*.sql")
	if err != nil || len(files) == 0 {
		return 0, errors.Join(err, errors.New("this program has no migrations"))
	}
	number, _, _ := strings.Cut(filepath.Base(files[len(files)-1]), "_")
	return strconv.ParseInt(number, 10, 64)
}

// explained explains an error of using a database, if its meaning is known.
func explained(name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*unusable](err); ok {
		return err
	}
	var full, readOnly, private, damaged, foreign, busy bool
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			full = true
		case sqlite3.SQLITE_READONLY:
			readOnly = true
		case sqlite3.SQLITE_CORRUPT:
			damaged = true
		case sqlite3.SQLITE_NOTADB:
			foreign = true
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			busy = true
		}
	}
	full = full || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	readOnly = readOnly || errors.Is(err, syscall.EROFS)
	private = errors.Is(err, fs.ErrPermission)
	switch {
	case full:
		return refused(hintSpace, "%s cannot be written: its disk is full", name)
	case private:
		return refused(fmt.Sprintf("let the user that the bridge runs as, here user %d, write to it and its folder", os.Getuid()), "%s cannot be opened: permission denied", name)
	case readOnly:
		return refused("make its disk writable, or name another one as database in bridge.yaml", "%s is read-only", name)
	case damaged:
		return refused(hintBackup, "%s is damaged", name)
	case foreign:
		return refused(hintForeign, "%s is no SQLite database", name)
	case busy:
		return refused(hintClose, "%s is locked by another program", name)
	}
	return explainedPostgres(name, err)
}

// explainedPostgres is explained for errors from PostgreSQL.
func explainedPostgres(name string, err error) error {
	if err := explainedTLS(name, err); err != nil {
		return err
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return fmt.Errorf("the database %s: %w", name, err)
	}
	switch e.Code {
	case "42501", "3F000": // insufficient_privilege, invalid_schema_name: no schema that this user may use
		return refused("let the user of its address make tables there: GRANT USAGE, CREATE ON SCHEMA …", "%s may not be written by this user: %s", name, e.Message)
	case "25006": // read_only_sql_transaction
		return refused("name the server that takes writes as database in bridge.yaml", "%s is read-only, as a standby is", name)
	case "53100": // disk_full
		return refused(hintSpace, "%s cannot be written: the server's disk is full", name)
	case "3D000": // invalid_catalog_name
		return refused("create it: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", "%s does not exist", name)
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return refused("correct the address of the database in bridge.yaml", "%s does not let this user in: %s", name, e.Message)
	}
	return fmt.Errorf("the database %s: %w", name, err)
}

// examinePatience bounds the check of a database that may not answer.
const examinePatience = 30 * time.Second

// examinePostgres refuses a database that the bridge cannot work with, and changes
// nothing.
func examinePostgres(ctx context.Context, db querier, name string, schema fs.FS) error {
	ctx, cancel := context.WithTimeout(ctx, examinePatience)
	defer cancel()
	var encoding string
	if err := db.QueryRowContext(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return explained(name, err)
	}
	if encoding != "UTF8" {
		return refused("make one that is: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", "%s is encoded in %s and not in UTF8", name, encoding)
	}
	return examineSchema(ctx, db, name, tablesOfPostgres, schema)
}
