package store

import (
	"context"
	"fmt"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// portalTable has the portals.
type portalTable struct {
	*writer
	seen recall[model.Portal]
}

const portalColumns = `SELECT rc_room, mx_room, rc_type, rc_reader, mx_reader, created, title FROM portals`

func scanPortal(row scanner) (model.Portal, error) {
	var p model.Portal
	var created int64
	err := row.Scan(&p.RCRoom, &p.MXRoom, &p.RCType, &p.RCReader, &p.MXReader, &created, &p.Title)
	p.Created = time.UnixMilli(created).UTC()
	return p, err
}

// portalsChanged is the cursor that counts the changes to the list of portals.
const portalsChanged = "portals"

// changed records in a transaction that the list of portals has changed.
func changed(b *batch) error {
	_, err := b.tx.ExecContext(b.ctx, `INSERT INTO cursors (name, value) VALUES ($1, '1')
		ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(cursors.value AS BIGINT) + 1 AS TEXT)`, portalsChanged)
	return err
}

// PortalsVersion returns a value that changes whenever any process creates, changes or
// ends a portal. Its cost does not depend on the number of portals.
func (s *portalTable) PortalsVersion(ctx context.Context) (string, error) {
	return (&cursorTable{s.database}).Cursor(ctx, portalsChanged)
}

// Portals implements relay.Store.
func (s *portalTable) Portals(ctx context.Context) ([]model.Portal, error) {
	rows, err := s.query(ctx, portalColumns+` ORDER BY created`)
	if err != nil {
		return nil, err
	}
	return all(rows, scanPortal)
}

// PortalByRC implements relay.Store.
func (s *portalTable) PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error) {
	return s.seen.get("rc_room", string(room), func() (model.Portal, error) {
		return scanPortal(s.queryRow(ctx, portalColumns+` WHERE rc_room = $1`, room))
	})
}

// PortalByMX implements relay.Store.
func (s *portalTable) PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error) {
	return s.seen.get("mx_room", string(room), func() (model.Portal, error) {
		return scanPortal(s.queryRow(ctx, portalColumns+` WHERE mx_room = $1`, room))
	})
}

// PutPortal implements relay.Store.
func (s *portalTable) PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error {
	var in []inserted
	err := s.write(ctx, &write{lanes: lanesOf(items), do: func(b *batch) (err error) {
		if _, err = b.tx.ExecContext(b.ctx, `DELETE FROM portals WHERE rc_room = $1 OR mx_room = $2`, p.RCRoom, p.MXRoom); err != nil {
			return err
		}
		if _, err = b.tx.ExecContext(b.ctx, `INSERT INTO portals (rc_room, mx_room, rc_type, rc_reader, mx_reader, created, title) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			p.RCRoom, p.MXRoom, p.RCType, p.RCReader, p.MXReader, p.Created.UnixMilli(), p.Title); err != nil {
			return err
		}
		if err = changed(b); err != nil {
			return err
		}
		if err = s.keeper.insert(b, time.Now(), items, &in); err != nil {
			return err
		}
		return s.keeper.cursors(b, cursors)
	}, committed: func() {
		s.seen.forget() // before the portal has any effect
		s.keeper.count(in)
	}})
	if err != nil {
		s.seen.forget()
		return fmt.Errorf("store the portal of %s: %w", p.RCRoom, err)
	}
	s.Announce(TopicPortals, string(p.RCRoom))
	return nil
}

// DropPortal implements relay.Store.
func (s *portalTable) DropPortal(ctx context.Context, p model.Portal) error {
	err := s.write(ctx, &write{do: func(b *batch) error {
		if _, err := b.tx.ExecContext(b.ctx, `DELETE FROM portals WHERE rc_room = $1 AND mx_room = $2`, p.RCRoom, p.MXRoom); err != nil {
			return err
		}
		return changed(b)
	}})
	s.seen.forget()
	s.Announce(TopicPortals, string(p.RCRoom))
	return err
}

// A PortalKey is a position in the list of portals: just before the portal of a room that was
// created then. The zero value is the beginning of the list, which is sorted newest first.
type PortalKey struct {
	Created time.Time
	RCRoom  ids.RCRoom
}

// PortalsBefore lists the portals from a position on, newest first, at most limit of them. If
// words is not empty, it lists only portals whose title or identifiers contain it.
func (s *portalTable) PortalsBefore(ctx context.Context, words string, from PortalKey, limit int) ([]model.Portal, error) {
	created := int64(1) << 62
	if !from.Created.IsZero() {
		created = from.Created.UnixMilli()
	}
	query, args := portalColumns+` WHERE (created < $1 OR created = $1 AND rc_room < $2)`, []any{created, from.RCRoom, limit}
	if words != "" {
		holds, pattern := s.holding(words, 4, "title", "rc_room", "mx_room")
		query += holds
		args = append(args, pattern)
	}
	rows, err := s.query(ctx, query+` ORDER BY created DESC, rc_room DESC LIMIT $3`, args...)
	if err != nil {
		return nil, err
	}
	return all(rows, scanPortal)
}

// SetTitle records the name of a room in Rocket.Chat.
func (s *portalTable) SetTitle(ctx context.Context, room ids.RCRoom, title string) error {
	res, err := s.exec(ctx, `UPDATE portals SET title = $2 WHERE rc_room = $1 AND title <> $2`, room, title)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		s.seen.forget()
	}
	return nil
}

// CountPortals returns the number of portals.
func (s *portalTable) CountPortals(ctx context.Context) (n int64, err error) {
	err = s.queryRow(ctx, `SELECT COUNT(*) FROM portals`).Scan(&n)
	return n, err
}
