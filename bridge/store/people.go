package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
	"appliance/bridge/secret"
)

// Cursor implements relay.Store.
func (s *Store) Cursor(ctx context.Context, name string) (string, error) {
	var value string
	err := s.read.QueryRowContext(ctx, `SELECT value FROM cursors WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

const portalColumns = `SELECT rc_room, mx_room, rc_type, rc_reader, mx_reader, created FROM portals`

type scanner interface{ Scan(...any) error }

func scanPortal(row scanner) (relay.Portal, error) {
	var p relay.Portal
	var created int64
	err := row.Scan(&p.RCRoom, &p.MXRoom, &p.RCType, &p.RCReader, &p.MXReader, &created)
	p.Created = time.UnixMilli(created).UTC()
	return p, err
}

// Portals implements relay.Store.
func (s *Store) Portals(ctx context.Context) ([]relay.Portal, error) {
	rows, err := s.read.QueryContext(ctx, portalColumns+` ORDER BY created`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []relay.Portal
	for rows.Next() {
		p, err := scanPortal(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// PortalByRC implements relay.Store.
func (s *Store) PortalByRC(ctx context.Context, room ids.RCRoom) (relay.Portal, bool, error) {
	return found(scanPortal(s.read.QueryRowContext(ctx, portalColumns+` WHERE rc_room = $1`, room)))
}

// PortalByMX implements relay.Store.
func (s *Store) PortalByMX(ctx context.Context, room ids.MXRoom) (relay.Portal, bool, error) {
	return found(scanPortal(s.read.QueryRowContext(ctx, portalColumns+` WHERE mx_room = $1`, room)))
}

// found turns the absence of a row into a false.
func found[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return v, false, nil
	}
	return v, err == nil, err
}

// PutPortal implements relay.Store.
func (s *Store) PutPortal(ctx context.Context, p relay.Portal, items []queue.Item, cursors map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last
	err := s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM portals WHERE rc_room = $1 OR mx_room = $2`, p.RCRoom, p.MXRoom); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO portals (rc_room, mx_room, rc_type, rc_reader, mx_reader, created) VALUES ($1, $2, $3, $4, $5, $6)`,
			p.RCRoom, p.MXRoom, p.RCType, p.RCReader, p.MXReader, p.Created.UnixMilli()); err != nil {
			return err
		}
		var err error
		if _, last, err = insertItems(ctx, tx, time.Now(), items, last); err != nil {
			return err
		}
		return putCursors(ctx, tx, cursors)
	})
	if err != nil {
		return fmt.Errorf("store the portal of %s: %w", p.RCRoom, err)
	}
	s.last = last
	return nil
}

const ghostColumns = `SELECT rc_user, mx_user, username, name FROM ghosts`

func scanGhost(row scanner) (g relay.Ghost, err error) {
	err = row.Scan(&g.RCUser, &g.MXUser, &g.Username, &g.Name)
	return g, err
}

// GhostByRC implements relay.Store.
func (s *Store) GhostByRC(ctx context.Context, user ids.RCUser) (relay.Ghost, bool, error) {
	return found(scanGhost(s.read.QueryRowContext(ctx, ghostColumns+` WHERE rc_user = $1`, user)))
}

// GhostByMX implements relay.Store.
func (s *Store) GhostByMX(ctx context.Context, user ids.MXUser) (relay.Ghost, bool, error) {
	return found(scanGhost(s.read.QueryRowContext(ctx, ghostColumns+` WHERE mx_user = $1`, user)))
}

// PutGhost implements relay.Store.
func (s *Store) PutGhost(ctx context.Context, g relay.Ghost) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO ghosts (rc_user, mx_user, username, name) VALUES ($1, $2, $3, $4)
		ON CONFLICT (rc_user) DO UPDATE SET username = excluded.username, name = excluded.name`, g.RCUser, g.MXUser, g.Username, g.Name)
	return err
}

const puppetColumns = `SELECT mx_user, rc_user, username, name, token FROM puppets`

func scanPuppet(row scanner) (p relay.Puppet, err error) {
	var token string
	err = row.Scan(&p.MXUser, &p.RCUser, &p.Username, &p.Name, &token)
	p.Token = secret.New(token)
	return p, err
}

// PuppetByMX implements relay.Store.
func (s *Store) PuppetByMX(ctx context.Context, user ids.MXUser) (relay.Puppet, bool, error) {
	return found(scanPuppet(s.read.QueryRowContext(ctx, puppetColumns+` WHERE mx_user = $1`, user)))
}

// PuppetByRC implements relay.Store.
func (s *Store) PuppetByRC(ctx context.Context, user ids.RCUser) (relay.Puppet, bool, error) {
	return found(scanPuppet(s.read.QueryRowContext(ctx, puppetColumns+` WHERE rc_user = $1`, user)))
}

// PuppetByUsername implements relay.Store. Usernames differ in more than case.
func (s *Store) PuppetByUsername(ctx context.Context, username string) (relay.Puppet, bool, error) {
	return found(scanPuppet(s.read.QueryRowContext(ctx, puppetColumns+` WHERE username = $1`, strings.ToLower(username))))
}

// PutPuppet implements relay.Store.
func (s *Store) PutPuppet(ctx context.Context, p relay.Puppet) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO puppets (mx_user, rc_user, username, name, token) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (mx_user) DO UPDATE SET rc_user = excluded.rc_user, username = excluded.username, name = excluded.name, token = excluded.token`,
		p.MXUser, p.RCUser, strings.ToLower(p.Username), p.Name, p.Token.Reveal())
	return err
}

// MessageLinked implements relay.Store.
func (s *Store) MessageLinked(ctx context.Context, event ids.MXEvent) (bool, error) {
	return s.exists(ctx, `SELECT 1 FROM links WHERE mx_event = $1 LIMIT 1`, event)
}

// EventLinked implements relay.Store.
func (s *Store) EventLinked(ctx context.Context, message ids.RCMessage) (bool, error) {
	return s.exists(ctx, `SELECT 1 FROM links WHERE rc_message = $1 LIMIT 1`, message)
}

func (s *Store) exists(ctx context.Context, query string, arg any) (bool, error) {
	var one int
	err := s.read.QueryRowContext(ctx, query, arg).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
