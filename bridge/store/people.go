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
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
)

// Cursor implements relay.Store.
func (s *Store) Cursor(ctx context.Context, name string) (string, error) {
	var value string
	err := s.queryRow(ctx, `SELECT value FROM cursors WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// MoveCursor implements relay.Store.
func (s *Store) MoveCursor(ctx context.Context, name, value string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO cursors (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

const portalColumns = `SELECT rc_room, mx_room, rc_type, rc_reader, mx_reader, created, title FROM portals`

type scanner interface{ Scan(...any) error }

func scanPortal(row scanner) (model.Portal, error) {
	var p model.Portal
	var created int64
	err := row.Scan(&p.RCRoom, &p.MXRoom, &p.RCType, &p.RCReader, &p.MXReader, &created, &p.Title)
	p.Created = time.UnixMilli(created).UTC()
	return p, err
}

// Portals implements relay.Store.
func (s *Store) Portals(ctx context.Context) ([]model.Portal, error) {
	rows, err := s.query(ctx, portalColumns+` ORDER BY created`)
	if err != nil {
		return nil, err
	}
	return all(rows, scanPortal)
}

// PortalByRC implements relay.Store.
func (s *Store) PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error) {
	return found(scanPortal(s.queryRow(ctx, portalColumns+` WHERE rc_room = $1`, room)))
}

// PortalByMX implements relay.Store.
func (s *Store) PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error) {
	return found(scanPortal(s.queryRow(ctx, portalColumns+` WHERE mx_room = $1`, room)))
}

// all reads the rows of an answer and closes it.
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

// found turns the absence of a row into a false.
func found[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return v, false, nil
	}
	return v, err == nil, err
}

// PutPortal implements relay.Store.
func (s *Store) PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error {
	var in []inserted
	err := s.write(ctx, &write{lanes: lanesOf(items), do: func(b *batch) (err error) {
		if _, err = b.tx.ExecContext(b.ctx, `DELETE FROM portals WHERE rc_room = $1 OR mx_room = $2`, p.RCRoom, p.MXRoom); err != nil {
			return err
		}
		if _, err = b.tx.ExecContext(b.ctx, `INSERT INTO portals (rc_room, mx_room, rc_type, rc_reader, mx_reader, created, title) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			p.RCRoom, p.MXRoom, p.RCType, p.RCReader, p.MXReader, p.Created.UnixMilli(), p.Title); err != nil {
			return err
		}
		if in, err = s.keeper.insert(b, time.Now(), items); err != nil {
			return err
		}
		return b.cursors(cursors)
	}, committed: func() { s.keeper.count(in) }})
	if err != nil {
		return fmt.Errorf("store the portal of %s: %w", p.RCRoom, err)
	}
	s.Announce(TopicPortals, string(p.RCRoom))
	return nil
}

// DropPortal implements relay.Store.
func (s *Store) DropPortal(ctx context.Context, p model.Portal) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM portals WHERE rc_room = $1 AND mx_room = $2`, p.RCRoom, p.MXRoom)
	s.Announce(TopicPortals, string(p.RCRoom))
	return err
}

const ghostColumns = `SELECT rc_user, mx_user, username, name FROM ghosts`

func scanGhost(row scanner) (g model.Ghost, err error) {
	err = row.Scan(&g.RCUser, &g.MXUser, &g.Username, &g.Name)
	return g, err
}

// GhostByRC implements relay.Store.
func (s *Store) GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error) {
	return found(scanGhost(s.queryRow(ctx, ghostColumns+` WHERE rc_user = $1`, user)))
}

// GhostByMX implements relay.Store.
func (s *Store) GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error) {
	return found(scanGhost(s.queryRow(ctx, ghostColumns+` WHERE mx_user = $1`, user)))
}

// GhostsAfter implements relay.Store.
func (s *Store) GhostsAfter(ctx context.Context, after ids.MXUser, limit int) ([]model.Ghost, error) {
	rows, err := s.read.QueryContext(ctx, ghostColumns+` WHERE mx_user > $1 ORDER BY mx_user LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	return all(rows, scanGhost)
}

// PutGhost implements relay.Store.
func (s *Store) PutGhost(ctx context.Context, g model.Ghost) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO ghosts (rc_user, mx_user, username, name) VALUES ($1, $2, $3, $4)
		ON CONFLICT (rc_user) DO UPDATE SET username = excluded.username, name = excluded.name`, g.RCUser, g.MXUser, g.Username, g.Name)
	return err
}

const puppetColumns = `SELECT mx_user, rc_user, username, name, token FROM puppets`

func scanPuppet(row scanner) (p model.Puppet, err error) {
	var token string
	err = row.Scan(&p.MXUser, &p.RCUser, &p.Username, &p.Name, &token)
	p.Token = secret.New(token)
	return p, err
}

// PuppetByMX implements relay.Store.
func (s *Store) PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error) {
	return found(scanPuppet(s.queryRow(ctx, puppetColumns+` WHERE mx_user = $1`, user)))
}

// PuppetByRC implements relay.Store.
func (s *Store) PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error) {
	return found(scanPuppet(s.queryRow(ctx, puppetColumns+` WHERE rc_user = $1`, user)))
}

// PuppetByUsername implements relay.Store. Usernames differ in more than case.
func (s *Store) PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error) {
	return found(scanPuppet(s.queryRow(ctx, puppetColumns+` WHERE username = $1`, strings.ToLower(username))))
}

// PutPuppet implements relay.Store.
func (s *Store) PutPuppet(ctx context.Context, p model.Puppet) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO puppets (mx_user, rc_user, username, name, token) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (mx_user) DO UPDATE SET rc_user = excluded.rc_user, username = excluded.username, name = excluded.name, token = excluded.token`,
		p.MXUser, p.RCUser, strings.ToLower(p.Username), p.Name, p.Token.Reveal())
	return err
}

const linkColumns = `SELECT part, rc_room, rc_message, mx_room, mx_event, mx_sender FROM links`

// LinksByEvent implements relay.Store.
func (s *Store) LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error) {
	s.awaitLinks(string(event))
	return s.links(ctx, linkColumns+` WHERE mx_event = $1 ORDER BY part`, event)
}

// LinksByMessage implements relay.Store.
func (s *Store) LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error) {
	s.awaitLinks(string(message))
	return s.links(ctx, linkColumns+` WHERE rc_message = $1 ORDER BY part`, message)
}

// DropLink implements relay.Store.
func (s *Store) DropLink(ctx context.Context, l queue.Receipt) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM links WHERE rc_message = $1 AND mx_event = $2`, l.RCMessage, l.MXEvent)
	return err
}

func (s *Store) links(ctx context.Context, query string, arg any) ([]queue.Receipt, error) {
	rows, err := s.query(ctx, query, arg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []queue.Receipt
	for rows.Next() {
		var r queue.Receipt
		if err := rows.Scan(&r.Part, &r.RCRoom, &r.RCMessage, &r.MXRoom, &r.MXEvent, &r.MXSender); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

const reactionColumns = `SELECT rc_message, emoji, rc_user, mx_event, mx_room, mx_sender FROM reactions`

// Reactions implements relay.Store.
func (s *Store) Reactions(ctx context.Context, message ids.RCMessage) ([]model.Reaction, error) {
	rows, err := s.query(ctx, reactionColumns+` WHERE rc_message = $1`, message)
	if err != nil {
		return nil, err
	}
	return all(rows, scanReaction)
}

func scanReaction(row scanner) (r model.Reaction, err error) {
	err = row.Scan(&r.Message, &r.Emoji, &r.User, &r.Event, &r.MXRoom, &r.MXSender)
	return r, err
}

// ReactionByEvent implements relay.Store.
func (s *Store) ReactionByEvent(ctx context.Context, event ids.MXEvent) (model.Reaction, bool, error) {
	return found(scanReaction(s.queryRow(ctx, reactionColumns+` WHERE mx_event = $1`, event)))
}

// PutReaction implements relay.Store.
func (s *Store) PutReaction(ctx context.Context, r model.Reaction) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO reactions (rc_message, emoji, rc_user, mx_event, mx_room, mx_sender) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (rc_message, emoji, rc_user) DO UPDATE SET mx_event = excluded.mx_event, mx_sender = excluded.mx_sender`,
		r.Message, r.Emoji, r.User, r.Event, r.MXRoom, r.MXSender)
	return err
}

// DropReaction implements relay.Store.
func (s *Store) DropReaction(ctx context.Context, r model.Reaction) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM reactions WHERE rc_message = $1 AND emoji = $2 AND rc_user = $3`, r.Message, r.Emoji, r.User)
	return err
}

// MessageLinked implements relay.Store.
func (s *Store) MessageLinked(ctx context.Context, event ids.MXEvent) (bool, error) {
	s.awaitLinks(string(event))
	return s.exists(ctx, `SELECT 1 FROM links WHERE mx_event = $1 LIMIT 1`, event)
}

// EventLinked implements relay.Store.
func (s *Store) EventLinked(ctx context.Context, message ids.RCMessage) (bool, error) {
	s.awaitLinks(string(message))
	return s.exists(ctx, `SELECT 1 FROM links WHERE rc_message = $1 LIMIT 1`, message)
}

func (s *Store) exists(ctx context.Context, query string, arg any) (bool, error) {
	var one int
	err := s.queryRow(ctx, query, arg).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
