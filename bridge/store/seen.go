package store

import (
	"context"
	"slices"
	"strconv"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	// seenFew is how many IDs of a kind are looked up for one message, and seenMany how
	// many are looked up at once after messages were missed. No query has another number
	// of placeholders, so there are only two of them.
	seenFew  = 2
	seenMany = 100
)

// seenQuery looks up n items, n cursors and the reactions of n messages.
func seenQuery(n int) string {
	items, cursors, messages := places(n), placesFrom(1+n, n), placesFrom(1+2*n, n)
	return `SELECT 'item', id, '' FROM items WHERE id IN ` + items + ` UNION ALL SELECT 'item', id, '' FROM done WHERE id IN ` + items +
		` UNION ALL SELECT 'cursor', name, value FROM cursors WHERE name IN ` + cursors +
		` UNION ALL SELECT 'reaction', rc_message, '' FROM reactions WHERE rc_message IN ` + messages
}

var seenQueries = map[int]string{seenFew: seenQuery(seenFew), seenMany: seenQuery(seenMany)}

// seenChanges is added where other processes may change something.
const seenChanges = ` UNION ALL SELECT 'changes', CAST(count AS TEXT), '' FROM change_count`

// Seen implements relay.Store.
func (s *itemTable) Seen(ctx context.Context, items, cursors []string, messages []ids.RCMessage) (model.Seen, error) {
	out := model.Seen{Items: map[string]bool{}, Cursors: map[string]string{}, Reacted: map[ids.RCMessage]bool{}}
	n := seenFew
	if max(len(items), len(cursors), len(messages)) > n {
		n = seenMany
	}
	for len(items)+len(cursors)+len(messages) > 0 {
		args := slices.Repeat([]any{""}, 3*n)
		items, cursors, messages = place(args[:n], items), place(args[n:2*n], cursors), place(args[2*n:], messages)
		if err := s.seen(ctx, n, args, out); err != nil {
			return model.Seen{}, err
		}
	}
	return out, nil
}

// place copies the first values of a list into places, and returns the rest of the list.
func place[T any](places []any, list []T) []T {
	n := min(len(places), len(list))
	for i, v := range list[:n] {
		places[i] = v
	}
	return list[n:]
}

func (s *itemTable) seen(ctx context.Context, n int, args []any, into model.Seen) error {
	query := seenQueries[n]
	if s.changes.shared {
		query += seenChanges
	}
	asked := time.Now()
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var kind, name, value string
		if err := rows.Scan(&kind, &name, &value); err != nil {
			return err
		}
		switch kind {
		case "item":
			into.Items[name] = true
		case "cursor":
			into.Cursors[name] = value
		case "changes":
			count, err := strconv.ParseInt(name, 10, 64)
			if err != nil {
				return err
			}
			s.changes.note(count, asked)
		case "reaction":
			into.Reacted[ids.RCMessage(name)] = true
		}
	}
	return rows.Err()
}
