package store

import (
	"context"
	"crypto/rand"
	"strings"

	"appliance/bridge/ids"
)

// EditOf implements relay.Store.
func (s *Store) EditOf(ctx context.Context, event ids.MXEvent) (ids.MXEvent, bool, error) {
	var target ids.MXEvent
	err := s.queryRow(ctx, `SELECT target FROM edits WHERE event = $1`, event).Scan(&target)
	return found(target, err)
}

// PutEdit implements relay.Store.
func (s *Store) PutEdit(ctx context.Context, event, target ids.MXEvent) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO edits (event, target) VALUES ($1, $2) ON CONFLICT (event) DO NOTHING`, event, target)
	return err
}

// PuppetMark implements relay.Store.
func (s *Store) PuppetMark(ctx context.Context, user ids.MXUser) (string, error) {
	if _, err := s.db.ExecContext(ctx, `INSERT INTO puppet_marks (mx_user, mark) VALUES ($1, $2) ON CONFLICT (mx_user) DO NOTHING`,
		user, strings.ToLower(rand.Text())); err != nil {
		return "", err
	}
	var mark string
	err := s.db.QueryRowContext(ctx, `SELECT mark FROM puppet_marks WHERE mx_user = $1`, user).Scan(&mark)
	return mark, err
}

// PuppetsAfter implements relay.Store.
func (s *Store) PuppetsAfter(ctx context.Context, after ids.MXUser, limit int) ([]ids.MXUser, error) {
	rows, err := s.query(ctx, `SELECT mx_user FROM puppets WHERE mx_user > $1 ORDER BY mx_user LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []ids.MXUser
	for rows.Next() {
		var user ids.MXUser
		if err := rows.Scan(&user); err != nil {
			return nil, err
		}
		out = append(out, user)
	}
	return out, rows.Err()
}
