package store

import (
	"context"
	"slices"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// linkTable has the links between messages of the two sides, and which event each edit changes.
type linkTable struct{ *writer }

const linkColumns = `SELECT part, rc_room, rc_message, mx_room, mx_event, mx_sender FROM links`

// LinksByEvent implements relay.Store.
func (s *linkTable) LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error) {
	s.awaitLinks(string(event))
	return s.links(ctx, linkColumns+` WHERE mx_event = $1 ORDER BY part`, event)
}

// LinksByMessage implements relay.Store.
func (s *linkTable) LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error) {
	s.awaitLinks(string(message))
	return s.links(ctx, linkColumns+` WHERE rc_message = $1 ORDER BY part`, message)
}

// DropLink implements relay.Store.
func (s *linkTable) DropLink(ctx context.Context, l queue.Receipt) error {
	_, err := s.exec(ctx, `DELETE FROM links WHERE rc_message = $1 AND mx_event = $2`, l.RCMessage, l.MXEvent)
	return err
}

func (s *linkTable) links(ctx context.Context, query string, arg any) ([]queue.Receipt, error) {
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

// MessageLinked implements relay.Store.
func (s *linkTable) MessageLinked(ctx context.Context, event ids.MXEvent) (bool, error) {
	s.awaitLinks(string(event))
	return s.exists(ctx, `SELECT 1 FROM links WHERE mx_event = $1 LIMIT 1`, event)
}

// EventLinked implements relay.Store.
func (s *linkTable) EventLinked(ctx context.Context, message ids.RCMessage) (bool, error) {
	s.awaitLinks(string(message))
	return s.exists(ctx, `SELECT 1 FROM links WHERE rc_message = $1 LIMIT 1`, message)
}

// eventsAsked is how many events are looked up at once. The query always has that many
// placeholders, so that it is always the same one.
const eventsAsked = 100

var eventsLinked = `SELECT mx_event FROM links WHERE mx_event IN ` + places(eventsAsked) + ` UNION SELECT mx_event FROM reactions WHERE mx_event IN ` + places(eventsAsked)

// EventsLinked implements mxside.Store.
func (s *linkTable) EventsLinked(ctx context.Context, events []ids.MXEvent) (map[ids.MXEvent]bool, error) {
	s.await(func(l *leaving) bool {
		return slices.ContainsFunc(l.receipts, func(r queue.Receipt) bool { return slices.Contains(events, ids.MXEvent(r.MXEvent)) })
	})
	linked := map[string]bool{}
	for some := range slices.Chunk(events, eventsAsked) {
		args := make([]any, eventsAsked)
		for i := range args {
			args[i] = ""
			if i < len(some) {
				args[i] = some[i]
			}
		}
		if err := s.collect(ctx, linked, eventsLinked, args); err != nil {
			return nil, err
		}
	}
	out := make(map[ids.MXEvent]bool, len(linked))
	for id := range linked {
		out[ids.MXEvent(id)] = true
	}
	return out, nil
}

// EditOf implements relay.Store.
func (s *linkTable) EditOf(ctx context.Context, event ids.MXEvent) (ids.MXEvent, bool, error) {
	var target ids.MXEvent
	err := s.queryRow(ctx, `SELECT target FROM edits WHERE event = $1`, event).Scan(&target)
	return found(target, err)
}

// DateEdit implements relay.Store.
func (s *linkTable) DateEdit(ctx context.Context, event, target ids.MXEvent, at int64) (newest bool, err error) {
	if _, err := s.exec(ctx, `UPDATE edits SET at = $1 WHERE event = $2`, at, event); err != nil {
		return false, err
	}
	err = s.queryRow(ctx, `SELECT NOT EXISTS (SELECT 1 FROM edits WHERE target = $1 AND at > $2)`, target, at).Scan(&newest)
	return newest, err
}

// PutEdit implements relay.Store.
func (s *linkTable) PutEdit(ctx context.Context, event, target ids.MXEvent) error {
	_, err := s.exec(ctx, `INSERT INTO edits (event, target) VALUES ($1, $2) ON CONFLICT (event) DO NOTHING`, event, target)
	return err
}
