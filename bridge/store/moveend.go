package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"modernc.org/sqlite"
)

// An end is one of the two databases of a move. Until close, no bridge can run on it:
// with SQLite from openEnd on, with PostgreSQL from begin on.
type end struct {
	db    *sql.DB
	conn  *sql.Conn // nil with SQLite
	name  string    // for messages
	place string    // equal for the same database
	tx    *sql.Tx
	mark  moveMark
	rows  int64 // in the tables to move
	free  func()
}

// openEnd opens a database and brings its schema up to date. In a rehearsal it creates
// and changes nothing.
func openEnd(ctx context.Context, database string, o options, rehearsal bool) (*end, error) {
	scheme, rest, _ := strings.Cut(database, ":")
	var e *end
	var err error
	switch scheme {
	case "sqlite":
		e, err = sqliteEnd(ctx, rest, o, rehearsal)
	case "postgres", "postgresql":
		e, err = postgresEnd(ctx, database, o, rehearsal)
	default:
		err = fmt.Errorf(`a database starts with "sqlite:" or "postgres:" (this one has %q)`, scheme)
	}
	if err != nil {
		return nil, err
	}
	if err := e.look(ctx, o, rehearsal); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func sqliteEnd(ctx context.Context, file string, o options, rehearsal bool) (*end, error) {
	if rehearsal {
		return sqliteLook(ctx, file, o)
	}
	s, err := openSQLite(ctx, file, o)
	if err != nil {
		return nil, err
	}
	place, err := filepath.Abs(file)
	_ = s.read.Close()
	return &end{db: s.db, name: file, place: place, free: func() { _ = s.db.Close(); s.release() }}, err
}

// sqliteLook opens a file read-only that a bridge may have open, or an empty database in
// memory if the file does not exist.
func sqliteLook(ctx context.Context, file string, o options) (*end, error) {
	if err := errors.Join(examinePlace(file), examineSQLite(ctx, file, o.schema)); err != nil {
		return nil, err
	}
	dsn := "file:" + file + "?mode=ro&_pragma=busy_timeout(10000)"
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		dsn = ":memory:"
	}
	opener, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, explained(file, err)
	}
	place, err := filepath.Abs(file)
	db := sql.OpenDB(opener)
	return &end{db: db, name: file, place: place, free: func() { _ = db.Close() }}, err
}

func postgresEnd(ctx context.Context, dsn string, o options, rehearsal bool) (*end, error) {
	on, err := reachPostgres(ctx, dsn, o)
	if err != nil {
		return nil, err
	}
	schema := on.session[searchPath]
	e := &end{
		db: on.db, conn: on.holder, name: on.name, free: func() { _ = on.close() },
		place: fmt.Sprint(on.cfg.Host, ":", on.cfg.Port, "/", on.cfg.Database, "?", schema),
	}
	if schema != "" && schema != "public" {
		e.name = on.cfg.Database + " (" + schema + ") on " + on.cfg.Host
	}
	if rehearsal {
		err = mayMakeTables(ctx, on.holder, schema)
	} else {
		err = makeSchema(ctx, on.holder, schema)
	}
	if err != nil {
		err = errors.Join(explained(on.name, err), on.close())
		return nil, err
	}
	return e, nil
}

// mayMakeTables checks whether the bridge's tables can be created, and leaves nothing behind.
func mayMakeTables(ctx context.Context, conn *sql.Conn, schema string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if name, _, _ := strings.Cut(schema, ","); name != "" {
		if _, err := tx.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{name}.Sanitize()); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `CREATE TABLE appliance_bridge_rehearsal (one INTEGER)`)
	return err
}

func (e *end) postgres() bool { return e.conn != nil }

func (e *end) list() string {
	if e.postgres() {
		return tablesOfPostgres
	}
	return tablesOfSQLite
}

// look brings the schema up to date and reads the state of the database.
func (e *end) look(ctx context.Context, o options, rehearsal bool) (err error) {
	if !rehearsal {
		if err := migrate(ctx, e.db, e.postgres(), o.schema); err != nil {
			return fmt.Errorf("bring the database up to date: %w", explained(e.name, err))
		}
	}
	if e.mark, err = markOf(ctx, e.db, e.list()); err != nil {
		return explained(e.name, err)
	}
	tables, err := tableNames(ctx, e.db, e.list())
	if err != nil {
		return explained(e.name, err)
	}
	for _, name := range movedTables {
		if !tables[name] {
			continue
		}
		n, err := count(ctx, e.db, name)
		if err != nil {
			return explained(e.name, err)
		}
		e.rows += n
	}
	return nil
}

// begin begins a transaction during which no bridge can start on the database, once the
// running ones have ended. An SQLite file is locked already.
func (e *end) begin(ctx context.Context) (err error) {
	if e.tx != nil {
		return nil
	}
	if !e.postgres() {
		e.tx, err = e.db.BeginTx(ctx, nil)
		return err
	}
	for first := int64(0); ; {
		running, until, err := e.lock(ctx)
		if err != nil || running == 0 {
			return err
		}
		if first == 0 {
			first = until
		}
		if until > first {
			return fmt.Errorf("the database %s %w: %d run; stop them first", e.name, ErrInUse, running)
		}
		select { // a killed process counts as running for a few seconds
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(againAfter):
		}
	}
}

// lock begins a transaction in which no process can report that it is alive. If some have done
// so, it returns their number and until when they count as alive, and begins no transaction.
func (e *end) lock(ctx context.Context) (running int, until int64, err error) {
	tx, err := e.conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	// A copy may take long, and the other end stays in its transaction meanwhile.
	_, err = tx.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE replicas IN EXCLUSIVE MODE`)
	if err == nil {
		err = tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MAX(until), 0) FROM replicas WHERE until > `+dbNow).Scan(&running, &until)
	}
	if err != nil || running > 0 {
		return running, until, errors.Join(explained(e.name, err), tx.Rollback())
	}
	e.tx = tx
	return 0, 0, nil
}

func (e *end) commit() error {
	tx := e.tx
	e.tx = nil
	return tx.Commit()
}

// leave marks the database as no longer in use. A process that was suspended during a
// delivery settles nothing there when it resumes.
func (e *end) leave(ctx context.Context, m moveMark) error {
	if _, err := e.tx.ExecContext(ctx, `UPDATE lanes SET owner = '', held = 0, fence = fence + 1`); err != nil {
		return err
	}
	if err := m.put(ctx, e.tx); err != nil {
		return err
	}
	return e.commit()
}

func (e *end) close() {
	if e.tx != nil {
		_ = e.tx.Rollback()
	}
	e.free()
}

// fill writes rows until next returns nil.
func (e *end) fill(ctx context.Context, table string, columns []column, next func() ([]any, error)) error {
	if e.postgres() {
		return e.conn.Raw(func(driver any) error {
			c, ok := driver.(interface{ Conn() *pgx.Conn })
			if !ok {
				return errors.New("the driver is not pgx")
			}
			_, err := c.Conn().CopyFrom(ctx, pgx.Identifier{table}, namesOf(columns), pgx.CopyFromFunc(next))
			return err
		})
	}
	marks := make([]string, len(columns))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	stmt, err := e.tx.PrepareContext(ctx, `INSERT INTO `+table+` (`+strings.Join(namesOf(columns), ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`) //nolint:gosec // names of our own schema
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	for {
		row, err := next()
		if err != nil || row == nil {
			return err
		}
		if _, err := stmt.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
}
