package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"appliance/bridge/queue"
)

// The writes needed for every message, when it is accepted and when it has been
// delivered, are one statement for all that are written at the same time, and so a
// transaction of their own.

// writeTogether checks leases and, if this process still holds all of them, adds items,
// moves cursors, stores links and removes delivered items. Otherwise it writes nothing.
// Its parts run in this order because each refers to the one before:
//
//   - mine holds the lanes whose items are removed, so that no other process takes them
//     until the end; it does not block writers that add items.
//   - marked locks the lanes that get new items, in the same order in all processes, and
//     marks them as having some. Only then are numbers assigned, so that the numbers
//     within a lane follow the order of the commits.
//   - added skips every item that was ever added. It sees the state at the beginning of
//     the statement: an item added since by another process is rejected by its ID, and
//     one that has even been delivered since is recognised when it is read (fetchItems).
const writeTogether = `WITH mine AS MATERIALIZED (` + holdLanes + `),
	checked AS MATERIALIZED (SELECT COUNT(*) = cardinality($1::text[]) AS ok FROM mine),
	marked AS (INSERT INTO lanes (lane, waiting, due, held) SELECT n.lane, 1, ` + dbNow + `, 0 FROM checked, unnest($4::text[]) AS n (lane) WHERE checked.ok` + markOnce + ` RETURNING 1),
	ready AS MATERIALIZED (SELECT COUNT(*) AS lanes FROM marked),
	added AS (INSERT INTO items (seq, id, lane, kind, payload, accepted)
		SELECT CASE WHEN ready.lanes >= 0 THEN nextval('items_seq') END, n.id, n.lane, n.kind, n.payload, ` + dbNow + ` FROM ready, (
			SELECT u.* FROM checked, unnest($5::text[], $6::text[], $7::text[], $8::bytea[]) WITH ORDINALITY AS u (id, lane, kind, payload, place)
			WHERE checked.ok AND NOT EXISTS (SELECT 1 FROM done WHERE done.id = u.id) AND NOT EXISTS (SELECT 1 FROM items WHERE items.id = u.id)
			ORDER BY place) AS n
		ON CONFLICT (id) DO NOTHING RETURNING id),
	moved AS (INSERT INTO cursors (name, value) SELECT n.name, n.value
		FROM checked, (SELECT COUNT(*) AS items FROM added) AS a, unnest($9::text[], $10::text[]) AS n (name, value) WHERE checked.ok AND a.items >= 0
		ON CONFLICT (name) DO UPDATE SET value = excluded.value),
	linked AS (INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event, mx_sender)
		SELECT n.* FROM checked, unnest($11::text[], $12::int[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[]) AS n WHERE checked.ok
		ON CONFLICT (item, part) DO UPDATE SET rc_message = excluded.rc_message, mx_event = excluded.mx_event),
	gone AS (DELETE FROM items USING checked WHERE checked.ok AND items.id = ANY($18::text[]) RETURNING items.id),
	noted AS (INSERT INTO done (id, at) SELECT id, ` + dbNow + ` FROM gone ON CONFLICT (id) DO NOTHING)
	SELECT checked.ok, COALESCE(added.id, ''), ` + changeCount + ` FROM checked LEFT JOIN added ON true`

// additions holds items to add, by column.
type additions struct {
	id, lane, kind []string
	payload        [][]byte
	to             []addition
}

// addition records which items of one write were new.
type addition struct {
	items []queue.Item
	in    *[]inserted
}

func (a *additions) add(items []queue.Item, in *[]inserted) {
	for _, it := range items {
		payload := it.Payload
		if payload == nil {
			payload = []byte{}
		}
		a.id, a.lane, a.kind, a.payload = append(a.id, it.ID), append(a.lane, it.Lane), append(a.kind, it.Kind), append(a.payload, payload)
	}
	a.to = append(a.to, addition{items, in})
}

// note records which items were new. An item added twice at the same time counts once.
func (a *additions) note(added map[string]bool) {
	for _, to := range a.to {
		*to.in = nil
		for _, it := range to.items {
			if added[it.ID] {
				*to.in = append(*to.in, inserted{item: it})
				delete(added, it.ID)
			}
		}
	}
}

// links holds receipts to store, by column.
type links struct {
	item, rcRoom, rcMessage, mxRoom, mxEvent, mxSender []string
	part                                               []int32
	at                                                 map[string]int // index by item and part
}

func (l *links) add(item string, r queue.Receipt) {
	key := fmt.Sprint(r.Part, " ", item)
	if i, ok := l.at[key]; ok { // the last one wins
		l.rcMessage[i], l.mxEvent[i] = r.RCMessage, r.MXEvent
		return
	}
	if l.at == nil {
		l.at = map[string]int{}
	}
	l.at[key] = len(l.item)
	l.item, l.part = append(l.item, item), append(l.part, int32(r.Part)) //nolint:gosec // a message has few parts
	l.rcRoom, l.rcMessage = append(l.rcRoom, r.RCRoom), append(l.rcMessage, r.RCMessage)
	l.mxRoom, l.mxEvent, l.mxSender = append(l.mxRoom, r.MXRoom), append(l.mxEvent, r.MXEvent), append(l.mxSender, r.MXSender)
}

func (k *settler) insert(b *batch, _ time.Time, items []queue.Item, in *[]inserted) error {
	b.added.add(items, in)
	return nil
}

func (k *settler) cursors(b *batch, cursors map[string]string) error {
	if b.moved == nil {
		b.moved = map[string]string{}
	}
	maps.Copy(b.moved, cursors)
	return nil
}

// flush writes what was collected from the writes of a transaction.
func (k *settler) flush(b *batch) error {
	if len(b.added.id)+len(b.moved)+len(b.links.item)+len(b.gone) == 0 {
		b.added.note(nil)
		return nil
	}
	var held []string
	var fences []int64
	for _, l := range b.leases {
		held, fences = append(held, l.Lane), append(fences, l.Fence)
	}
	lanes := slices.Sorted(slices.Values(b.added.lane))
	names := slices.Sorted(maps.Keys(b.moved)) // in the same order in all processes
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = b.moved[name]
	}
	a, l := &b.added, &b.links
	asked, changes := time.Now(), int64(0)
	rows, err := b.query(writeTogether, list(held), list(fences), k.owner, list(slices.Compact(lanes)), list(a.id), list(a.lane), list(a.kind), list(a.payload), list(names), values,
		list(l.item), list(l.part), list(l.rcRoom), list(l.rcMessage), list(l.mxRoom), list(l.mxEvent), list(l.mxSender), list(b.gone))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	added := map[string]bool{}
	ok := false
	for rows.Next() {
		var id string
		if err := rows.Scan(&ok, &id, &changes); err != nil {
			return err
		}
		added[id] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: %v under %d", queue.ErrLost, held, fences)
	}
	a.note(added)
	if b.tx == nil { // uncommitted changes do not count yet
		k.s.changes.note(changes, asked)
	}
	return nil
}

// list returns an empty list instead of NULL when there are no elements.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
