package store

import (
	"context"
	"database/sql"
)

// reading returns a query that is prepared once. There are as many of them as the
// package has queries, and none is made of what comes from outside.
func (s *Store) reading(ctx context.Context, query string) (*sql.Stmt, error) {
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

func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := s.reading(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// A row is the result of a query that finds at most one.
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

func (s *Store) queryRow(ctx context.Context, query string, args ...any) row {
	stmt, err := s.reading(ctx, query)
	if err != nil {
		return row{err: err}
	}
	return row{Row: stmt.QueryRowContext(ctx, args...)}
}
