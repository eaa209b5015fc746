// Package store keeps the bridge's durable state in SQLite or PostgreSQL: items, links,
// portals, ghosts, puppets and cursors. Three transactions carry the guarantees of the
// product: Accept (items and cursors in), Done (links in, item out) and GiveUp. It holds
// no policy: package queue decides what is tried when, package relay what it means.
//
// Only one process at a time may open an SQLite database; a second one is refused. Any
// number of processes may share a PostgreSQL database: see shared for how.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite" // the driver "sqlite"

	"appliance/bridge/relay"
)

//go:embed migrations/*.sql
var migrations embed.FS

var _ relay.Store = (*Store)(nil)

// Store is an open database. Each of its embedded types has the methods of one concept.
// They are safe for concurrent use.
type Store struct {
	*database
	*writer

	itemTable
	cursorTable
	linkTable
	reactionTable
	fileTable
	portalTable
	peopleTable
	doubleTable
	consoleTable
	operatorView
	team
}

// An Option changes how a database is opened.
type Option func(*options)

type options struct {
	log     *slog.Logger
	through func(driver.Connector) driver.Connector
	schema  fs.FS // the migrations
}

// WithLog makes a store log what happens between processes.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// Through wraps the database driver's connector, for example to observe writes or to make
// them fail. PostgreSQL connections must keep their method Conn() *pgx.Conn.
func Through(wrap func(driver.Connector) driver.Connector) Option {
	return func(o *options) { o.through = wrap }
}

const (
	// readers is the number of connections that read an SQLite database. Each has a page
	// cache of only a quarter of a megabyte, because the system caches the file too.
	readers     = 3
	readerPages = "cache_size(-256)"
	// maxConns bounds the connections to PostgreSQL, apart from the two permanent ones.
	maxConns = 16
)

// ErrInUse is wrapped by Open when another process has the database open.
var ErrInUse = errors.New("is in use by another process")

// Open opens a database, "sqlite:<file>" or "postgres://...", and brings its schema up to
// date.
func Open(ctx context.Context, database string, opts ...Option) (*Store, error) {
	o, err := optionsOf(opts)
	if err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(database, ":")
	var s *Store
	switch scheme {
	case "sqlite":
		if s, err = openSQLite(ctx, rest, o); err == nil {
			s.keeper = &memory{s: s.writer}
		}
	case "postgres", "postgresql":
		s, err = openPostgres(ctx, database, o)
	default:
		return nil, fmt.Errorf(`the database must start with "sqlite:" or "postgres:" (it has %q)`, scheme)
	}
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, o.schema); err != nil {
		close(s.closed)
		_ = s.Close()
		return nil, err
	}
	go s.run()
	return s, nil
}

// Close closes the database, after finishing the writes under way.
func (s *Store) Close() error {
	s.close.Do(func() { close(s.closing) })
	<-s.closed
	s.keeper.stop()
	err := s.db.Close()
	if s.read != s.db {
		err = errors.Join(err, s.read.Close())
	}
	s.release()
	return err
}

// Private

func optionsOf(opts []Option) (options, error) {
	schema, err := fs.Sub(migrations, "migrations")
	o := options{log: slog.New(slog.DiscardHandler), through: func(c driver.Connector) driver.Connector { return c }, schema: schema}
	for _, f := range opts {
		f(&o)
	}
	return o, err
}

// newStore assembles the store on a database. The keeper is not set yet.
func newStore(d *database) *Store {
	w := &writer{
		database: d, leaving: map[*leaving]bool{},
		writes: make(chan *write, maxGroup), linger: lingers, hurried: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
	}
	s := &Store{
		database: d, writer: w,
		itemTable: itemTable{w}, cursorTable: cursorTable{d}, linkTable: linkTable{w}, reactionTable: reactionTable{d}, fileTable: fileTable{d},
		portalTable: portalTable{writer: w}, peopleTable: peopleTable{database: d}, doubleTable: doubleTable{database: d}, consoleTable: consoleTable{d}, operatorView: operatorView{w},
		team: team{writer: w, subscribers: &subscribers{topics: map[string][]func([]string){}}},
	}
	s.portalTable.seen.changes, s.ghosts.changes, s.puppets.changes, s.doubleTable.seen.changes = &d.changes, &d.changes, &d.changes, &d.changes
	s.puppets.none, s.doubleTable.seen.none = true, true
	d.changes.forget = []func(){s.portalTable.seen.forget, s.ghosts.forget, s.puppets.forget, s.doubleTable.seen.forget}
	return s
}

func openSQLite(ctx context.Context, file string, o options) (*Store, error) {
	if err := examinePlace(file); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, explained(file, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("the database %s %w: stop it first, or let several bridges share a PostgreSQL (database: postgres://…)", file, ErrInUse)
	}
	// A child process that is just starting holds a copy of the descriptor until it
	// execs, and would keep the lock if the file were only closed here.
	release := func() { _ = errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_UN), lock.Close()) }
	if err := examineSQLite(ctx, file, o.schema); err != nil {
		release()
		return nil, err
	}
	// The file holds the puppets' tokens: no other user may read it.
	if f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600); err == nil { //nolint:gosec // the operator names the file
		_ = f.Chmod(0o600)
		_ = f.Close()
	}
	dsn := func(extra ...string) string {
		q := url.Values{"_pragma": append([]string{"journal_mode(WAL)", "busy_timeout(10000)", "synchronous(FULL)", "foreign_keys(1)", "cache_size(-1000)"}, extra...)}
		return "file:" + file + "?" + q.Encode() + "&_txlock=immediate"
	}
	writes, err := sqlite.NewConnector(dsn())
	reads, rerr := sqlite.NewConnector(dsn("query_only(1)", readerPages))
	if err := errors.Join(err, rerr); err != nil {
		release()
		return nil, fmt.Errorf("open the database %s: %w", file, err)
	}
	db, read := sql.OpenDB(o.through(writes)), sql.OpenDB(reads)
	db.SetMaxOpenConns(1)
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	s := newStore(&database{db: db, read: read, name: file, folds: true, release: release})
	return s, nil // the lock keeps all other processes out
}

// advisoryLock is the number of a lock that all processes hold in shared mode. The
// previous release held it exclusively, so the two releases cannot run at the same time.
const advisoryLock = 0x726f636b6d78

const (
	// stuckFor is how long a process that was suspended in a transaction keeps its locks;
	// lockPatience is how long others wait for them.
	stuckFor     = "5s"
	lockPatience = "8s"

	// connectPatience is how long a server, or a pooler in front of it, may take to open
	// a connection, unless the address sets connect_timeout. queryPatience is how long it
	// may take to answer a statement.
	connectPatience = 5 * time.Second
	queryPatience   = 20 * time.Second
	// A dead host sends nothing. Its connections end after goneAfter at the latest,
	// instead of after the quarter of an hour that Linux allows by default.
	goneAfter = 15 * time.Second
)

var dialer = &net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: goneAfter / 3, Interval: goneAfter / 3, Count: 2},
	Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			// Failing to set the option is no reason not to connect.
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(goneAfter.Milliseconds())) //nolint:gosec // a descriptor is a small number
		})
	},
}

// reachPostgres opens a connection to a database, and refuses an unsuitable one. The
// caller closes the result, including its holder.
func reachPostgres(ctx context.Context, dsn string, o options) (*server, error) {
	if err := examineAuthorities(dsn); err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("open the database: the address cannot be read") // the driver's error would show the password
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectPatience
	}
	cfg.DialFunc = dialer.DialContext
	session := takeSettings(cfg)
	cfg.RuntimeParams["application_name"] = "appliance bridge"
	session["idle_in_transaction_session_timeout"] = stuckFor
	session["lock_timeout"] = lockPatience
	s := &server{cfg: cfg, session: session, db: sql.OpenDB(o.through(session.connector(cfg))), name: cfg.Database + " on " + cfg.Host}
	s.db.SetMaxOpenConns(maxConns)
	s.db.SetMaxIdleConns(maxConns) // a new connection costs more than a hundred queries
	s.db.SetConnMaxIdleTime(5 * time.Minute)
	if s.holder, err = s.db.Conn(ctx); err != nil {
		return nil, errors.Join(explained(s.name, err), s.db.Close())
	}
	if err := examinePooler(ctx, s.db, s.holder, s.name); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := examinePostgres(ctx, s.holder, s.name, o.schema); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// server is a PostgreSQL database.
type server struct {
	cfg     *pgx.ConnConfig
	session settings // of every connection
	db      *sql.DB
	holder  *sql.Conn // one permanent connection
	name    string    // for people
}

func (s *server) close() error { return errors.Join(s.holder.Close(), s.db.Close()) }

func openPostgres(ctx context.Context, dsn string, o options) (*Store, error) {
	on, err := reachPostgres(ctx, dsn, o)
	if err != nil {
		return nil, err
	}
	if err := makeSchema(ctx, on.holder, on.session[searchPath]); err != nil {
		return nil, errors.Join(explained(on.name, err), on.close())
	}
	var mine bool
	if err := on.holder.QueryRowContext(ctx, `SELECT pg_try_advisory_lock_shared($1)`, advisoryLock).Scan(&mine); err != nil || !mine {
		if err == nil {
			err = fmt.Errorf("the database %w: a bridge of an earlier release", ErrInUse)
		}
		return nil, errors.Join(err, on.close())
	}
	s := newStore(&database{db: on.db, read: on.db, name: on.name, patience: queryPatience, release: func() { _ = on.holder.Close() }})
	s.changes.shared = true
	s.keeper = newShared(s.writer, s.subscribers, on, o.log)
	return s, nil
}

// makeSchema creates the schema named in an address (?search_path=bridge) if it does not
// exist: the bridge may share the database with another program.
func makeSchema(ctx context.Context, conn *sql.Conn, path string) error {
	name, _, _ := strings.Cut(path, ",")
	if name == "" {
		return nil
	}
	var exists bool
	if err := conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)`, name).Scan(&exists); err != nil || exists {
		return err
	}
	if _, err := conn.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("make the schema %s: %w", name, err)
	}
	return nil
}

// prepare brings the schema up to date and starts the keeper, unless the data has moved elsewhere.
func (s *Store) prepare(ctx context.Context, schema fs.FS) error {
	if err := examineMove(ctx, s.db, s.name, s.Shared()); err != nil {
		return err
	}
	if err := migrate(ctx, s.db, s.Shared(), schema); err != nil {
		return fmt.Errorf("bring the database up to date: %w", explained(s.name, err))
	}
	if err := s.prepareAll(ctx, s.keeper.statements()...); err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	if err := s.keeper.start(ctx); err != nil {
		return fmt.Errorf("look for items: %w", err)
	}
	return examineMove(ctx, s.db, s.name, s.Shared()) // a move may have waited for this process to register, or the other way round
}

// migrate brings a schema up to date. A schema of a newer release that this one may use
// is left as it is.
func migrate(ctx context.Context, db *sql.DB, postgres bool, schema fs.FS) error {
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	dialect := goose.DialectSQLite3
	if postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60)) // several processes may start at once
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db, schema, opts...)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	_, err = p.Up(ctx)
	return err
}
