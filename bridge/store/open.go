// Package store keeps what the bridge must not forget, in SQLite or PostgreSQL:
// items, links, portals, ghosts, puppets and cursors. There are three
// transactions that carry the promises of the product: Accept (items and
// cursors in), Done (links in, item out) and GiveUp. It holds no policy: what is
// tried when is decided in package queue, what it means in package relay.
//
// One process at a time may open a database; a second one is refused.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"appliance/bridge/relay"
)

//go:embed migrations/*.sql
var migrations embed.FS

var _ relay.Store = (*Store)(nil)

// Store is an open database. Methods are safe for concurrent use.
type Store struct {
	db      *sql.DB // for writing; one connection with SQLite, which has one writer anyway
	read    *sql.DB
	release func()

	writes  chan *write
	closing chan struct{}
	closed  chan struct{}
	close   sync.Once
	last    int64 // the highest seq ever given; of the writer

	stmtMu  sync.Mutex
	stmts   map[string]*sql.Stmt
	readers sync.Map // *sql.Stmt by query

	mu      sync.Mutex
	lanes   lanes
	leaving map[*leaving]bool
}

// ErrInUse is wrapped by Open when another process has the database open.
var ErrInUse = errors.New("is in use by another process")

// Open opens a database, "sqlite:<file>" or "postgres://...", and brings its
// schema up to date. Whatever an earlier process held is free again.
func Open(ctx context.Context, database string) (*Store, error) {
	scheme, rest, _ := strings.Cut(database, ":")
	var s *Store
	var err error
	switch scheme {
	case "sqlite":
		s, err = openSQLite(rest)
	case "postgres", "postgresql":
		s, err = openPostgres(ctx, database)
	default:
		return nil, fmt.Errorf(`the database must start with "sqlite:" or "postgres:" (it has %q)`, scheme)
	}
	if err != nil {
		return nil, err
	}
	s.writes, s.closing, s.closed = make(chan *write, maxGroup), make(chan struct{}), make(chan struct{})
	if err := s.prepare(ctx, scheme); err != nil {
		close(s.closed)
		_ = s.Close()
		return nil, err
	}
	go s.writer()
	return s, nil
}

// Close closes the database. What is being written is written first.
func (s *Store) Close() error {
	s.close.Do(func() { close(s.closing) })
	<-s.closed
	err := s.db.Close()
	if s.read != s.db {
		err = errors.Join(err, s.read.Close())
	}
	s.release()
	return err
}

// Private

func openSQLite(file string) (*Store, error) {
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("the database %s %w", file, ErrInUse)
	}
	// The file holds the tokens of puppets: nobody else may read it.
	if f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600); err == nil { //nolint:gosec // the operator names the file
		_ = f.Chmod(0o600)
		_ = f.Close()
	}
	dsn := func(extra ...string) string {
		q := url.Values{"_pragma": append([]string{"journal_mode(WAL)", "busy_timeout(10000)", "synchronous(FULL)", "foreign_keys(1)", "cache_size(-2000)"}, extra...)}
		return "file:" + file + "?" + q.Encode() + "&_txlock=immediate"
	}
	db, err := sql.Open("sqlite", dsn())
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open the database %s: %w", file, err)
	}
	db.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn("query_only(1)"))
	if err != nil {
		_ = lock.Close()
		return nil, errors.Join(err, db.Close())
	}
	read.SetMaxOpenConns(4)
	return &Store{db: db, read: read, release: func() { _ = lock.Close() }}, nil
}

// advisoryLock is the number under which PostgreSQL keeps us the only one.
const advisoryLock = 0x726f636b6d78

func openPostgres(ctx context.Context, dsn string) (*Store, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, errors.New("open the database: the address cannot be read") // the driver's words would show the password
	}
	db.SetMaxOpenConns(16)
	db.SetConnMaxIdleTime(5 * time.Minute)
	holder, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the database: %w", err), db.Close())
	}
	var mine bool
	if err := holder.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, advisoryLock).Scan(&mine); err != nil || !mine {
		if err == nil {
			err = fmt.Errorf("the database %w", ErrInUse)
		}
		return nil, errors.Join(err, holder.Close(), db.Close())
	}
	return &Store{db: db, read: db, release: func() { _ = holder.Close() }}, nil
}

func (s *Store) prepare(ctx context.Context, scheme string) error {
	dialect := goose.DialectPostgres
	if scheme == "sqlite" {
		dialect = goose.DialectSQLite3
	}
	sub, err := fsSub()
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, s.db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	if err := s.db.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM items`).Scan(&s.last); err != nil {
		return fmt.Errorf("read the last item: %w", err)
	}
	// The first two items of each lane may have been sent by an earlier process:
	// the second is begun while the first is being noted as done.
	if _, err := s.db.ExecContext(ctx, `UPDATE items SET attempts = 1 WHERE attempts = 0 AND buried = 0 AND seq IN (
		SELECT seq FROM (SELECT seq, ROW_NUMBER() OVER (PARTITION BY lane ORDER BY seq) AS place FROM items WHERE buried = 0) AS waiting WHERE place <= 2)`); err != nil {
		return fmt.Errorf("mark unfinished items: %w", err)
	}
	if err := s.prepareAll(ctx, insertItem, putCursor, putLink, deleteItem, putDone, giveUpItem, retryItem, putOffLane, freeLane); err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	if err := s.load(ctx); err != nil {
		return fmt.Errorf("count what waits: %w", err)
	}
	return nil
}
