package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// database has the connections and the prepared queries and statements.
type database struct {
	db      *sql.DB // for writing; one connection with SQLite, which allows one writer anyway
	read    *sql.DB
	release func()
	folds   bool   // LIKE ignores the case of ASCII letters, as in SQLite
	name    string // of the database, for messages

	// patience is the timeout of one statement, 0 for none. A server that no longer
	// answers may keep its connections open.
	patience time.Duration

	stmtMu  sync.Mutex
	stmts   map[string]*sql.Stmt
	readers sync.Map // *sql.Stmt by query

	changes changes      // by other processes
	ahead   atomic.Int64 // how far the clock of the database is ahead of this process's, in ns
}

// Now is the time that all processes sharing the database agree on, the database's own,
// to within a few milliseconds.
func (s *database) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// reading returns a prepared query. There are only as many as the package has queries,
// and none is built from outside input.
func (s *database) reading(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.readers.Load(query); ok {
		return stmt.(*sql.Stmt), nil //nolint:errcheck // nothing else is stored
	}
	stmt, err := s.read.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if old, ok := s.readers.LoadOrStore(query, stmt); ok {
		_ = stmt.Close()
		return old.(*sql.Stmt), nil //nolint:errcheck // nothing else is stored
	}
	return stmt, nil
}

// bounded returns a context that ends when a statement has taken too long, or with ctx
// until cancel is called.
func (s *database) bounded(ctx context.Context) (_ context.Context, cancel func()) {
	if s.patience == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.patience)
}

// reply returns a context for a statement whose result is read later. Call arrived when the result
// begins to arrive: from then on ctx no longer matters, but the rest must arrive within patience.
func (s *database) reply(ctx context.Context) (_ context.Context, arrived func()) {
	if s.patience == 0 {
		return ctx, func() {}
	}
	until, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	alone := context.AfterFunc(ctx, cancel)
	return until, func() { alone() }
}

func (s *database) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, arrived := s.reply(ctx)
	defer arrived()
	stmt, err := s.reading(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// exec executes a statement that returns no rows.
func (s *database) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.db.ExecContext(ctx, query, args...)
}

// A row is the result of a query that returns at most one row.
type row struct {
	*sql.Row
	err error
}

// Scan copies the row, or returns sql.ErrNoRows.
func (r row) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.Row.Scan(into...)
}

func (s *database) queryRow(ctx context.Context, query string, args ...any) row {
	ctx, arrived := s.reply(ctx)
	defer arrived()
	stmt, err := s.reading(ctx, query)
	if err != nil {
		return row{err: err}
	}
	return row{Row: stmt.QueryRowContext(ctx, args...)}
}

func (s *database) prepared(query string) (*sql.Stmt, error) {
	s.stmtMu.Lock()
	defer s.stmtMu.Unlock()
	if stmt, ok := s.stmts[query]; ok {
		return stmt, nil
	}
	return nil, errors.New("a statement was not prepared: " + query)
}

// prepareAll prepares the frequent statements. It cannot be done inside a transaction,
// because SQLite has only one connection for writing.
func (s *database) prepareAll(ctx context.Context, queries ...string) error {
	s.stmtMu.Lock()
	defer s.stmtMu.Unlock()
	s.stmts = map[string]*sql.Stmt{}
	for _, q := range queries {
		stmt, err := s.db.PrepareContext(ctx, q)
		if err != nil {
			return err
		}
		s.stmts[q] = stmt
	}
	return nil
}

func (s *database) collect(ctx context.Context, into map[string]bool, query string, args []any) error {
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		into[id] = true
	}
	return rows.Err()
}

// places returns the placeholders of n arguments in a query: "($1, $2, ...)".
func places(n int) string { return placesFrom(1, n) }

// placesFrom is places for arguments that follow others.
func placesFrom(first, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("$%d", first+i)
	}
	return "(" + strings.Join(all, ", ") + ")"
}

type scanner interface{ Scan(...any) error }

// all reads all rows of a result and closes it.
func all[T any](rows *sql.Rows, scan func(scanner) (T, error)) (out []T, err error) {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, rows.Err()
}

// found turns a missing row into false.
func found[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return v, false, nil
	}
	return v, err == nil, err
}

func (s *database) exists(ctx context.Context, query string, arg any) (bool, error) {
	var one int
	err := s.queryRow(ctx, query, arg).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
