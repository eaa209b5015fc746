package store

import (
	"context"
	"database/sql"
	"errors"
)

// cursorTable has the cursors: how far each side has been read.
type cursorTable struct{ *database }

// Cursor implements relay.Store.
func (s *cursorTable) Cursor(ctx context.Context, name string) (string, error) {
	var value string
	err := s.queryRow(ctx, `SELECT value FROM cursors WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// Cursors implements relay.Store.
func (s *cursorTable) Cursors(ctx context.Context, prefix string) (map[string]string, error) {
	query, args := `SELECT name, value FROM cursors WHERE starts_with(name, $1)`, []any{prefix}
	if s.read != s.db { // SQLite compares bytes, and has an index for that
		query, args = `SELECT name, value FROM cursors WHERE name >= $1 AND name < $2`, []any{prefix, prefix + "\U0010FFFF"}
	}
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		out[name[len(prefix):]] = value
	}
	return out, rows.Err()
}

// MoveCursor implements relay.Store.
func (s *cursorTable) MoveCursor(ctx context.Context, name, value string) error {
	_, err := s.exec(ctx, `INSERT INTO cursors (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
