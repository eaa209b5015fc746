package store

import (
	"context"
	"database/sql"
	"errors"
)

// cursorTable has the cursors: how far each side was read.
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

// MoveCursor implements relay.Store.
func (s *cursorTable) MoveCursor(ctx context.Context, name, value string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO cursors (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
