package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"appliance/bridge/queue"
)

func fsSub() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Add implements queue.Backend.
func (s *Store) Add(ctx context.Context, now time.Time, items ...queue.Item) (int, error) {
	return s.Accept(ctx, now, items, nil)
}

// Accept implements relay.Store.
func (s *Store) Accept(ctx context.Context, now time.Time, items []queue.Item, cursors map[string]string) (added int, err error) {
	var in []inserted
	err = s.write(ctx, func(b *batch) (err error) {
		if in, err = b.insert(now, items); err != nil {
			return err
		}
		return b.cursors(cursors)
	}, func() { s.count(in) })
	if err != nil {
		return 0, fmt.Errorf("store %d events: %w", len(items), err)
	}
	return len(in), nil
}

// inserted is an item that was new.
type inserted struct {
	seq  int64
	item queue.Item
}

// count makes the lanes know what was stored. It is called under s.mu.
func (s *Store) count(in []inserted) {
	for _, i := range in {
		s.lanes.add(i.seq, i.item, i.item.Accepted.UnixMilli())
	}
}

const (
	insertItem = `INSERT INTO items (seq, id, lane, kind, payload, accepted)
		SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), $5, CAST($6 AS BIGINT)
		WHERE NOT EXISTS (SELECT 1 FROM done WHERE id = $2) AND NOT EXISTS (SELECT 1 FROM items WHERE id = $2)`
	putCursor = `INSERT INTO cursors (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	putLink   = `INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event, mx_sender) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (item, part) DO UPDATE SET rc_message = excluded.rc_message, mx_event = excluded.mx_event`
	deleteItem = `DELETE FROM items WHERE id = $1`
	putDone    = `INSERT INTO done (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`
	giveUpItem = `UPDATE items SET buried = $1, cause = $2, attempts = $3 WHERE id = $4`
	retryItem  = `UPDATE items SET failures = failures + $1, cause = $2, attempts = $3 WHERE id = $4`
	putOffLane = `INSERT INTO lanes (lane, waiting, due, held) VALUES ($1, 0, $2, 0) ON CONFLICT (lane) DO UPDATE SET due = excluded.due`
	freeLane   = `DELETE FROM lanes WHERE lane = $1`
)

// insert adds what is new and returns it.
func (b *batch) insert(now time.Time, items []queue.Item) ([]inserted, error) {
	var in []inserted
	for _, it := range items {
		if it.Payload == nil {
			it.Payload = []byte{}
		}
		res, err := b.exec(insertItem, b.last+1, it.ID, it.Lane, it.Kind, it.Payload, now.UnixMilli())
		if err != nil {
			return nil, err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			continue
		}
		b.last++
		it.Accepted = time.UnixMilli(now.UnixMilli()).UTC()
		in = append(in, inserted{b.last, it})
	}
	return in, nil
}

func (b *batch) cursors(cursors map[string]string) error {
	for name, value := range cursors {
		if _, err := b.exec(putCursor, name, value); err != nil {
			return err
		}
	}
	return nil
}

// Done implements queue.Backend.
func (s *Store) Done(ctx context.Context, it queue.Item, receipts []queue.Receipt, free func()) error {
	s.await(func(l *leaving) bool { return l.lane == it.Lane })
	seq, _, putOff := s.head(it)
	w, err := s.send(ctx, func(b *batch) error {
		for _, r := range receipts {
			if _, err := b.exec(putLink, it.ID, r.Part, r.RCRoom, r.RCMessage, r.MXRoom, r.MXEvent, r.MXSender); err != nil {
				return err
			}
		}
		if _, err := b.exec(deleteItem, it.ID); err != nil {
			return err
		}
		if _, err := b.exec(putDone, it.ID, time.Now().UnixMilli()); err != nil {
			return err
		}
		return b.free(it.Lane, putOff)
	}, nil)
	if err != nil {
		return err
	}
	l := &leaving{lane: it.Lane, seq: seq, receipts: receipts, stored: make(chan struct{})}
	s.mu.Lock()
	s.leaving[l] = true
	s.lanes.leave(it.Lane, seq)
	s.mu.Unlock()
	if free != nil {
		free()
	}
	err = <-w.result
	s.mu.Lock()
	delete(s.leaving, l)
	s.mu.Unlock()
	close(l.stored)
	return err
}

// leaving is an item that was delivered and has left its lane in memory, while that
// is being written.
type leaving struct {
	lane     string
	seq      int64
	receipts []queue.Receipt
	stored   chan struct{} // closed when it is written
}

// await waits until what leaves and fits is written.
func (s *Store) await(fits func(*leaving) bool) {
	for {
		var wait chan struct{}
		s.mu.Lock()
		for l := range s.leaving {
			if fits(l) {
				wait = l.stored
				break
			}
		}
		s.mu.Unlock()
		if wait == nil {
			return
		}
		<-wait
	}
}

// awaitLinks waits until the links of a message or an event are written, if it was
// delivered just now.
func (s *Store) awaitLinks(id string) {
	s.await(func(l *leaving) bool {
		return slices.ContainsFunc(l.receipts, func(r queue.Receipt) bool { return r.RCMessage == id || r.MXEvent == id })
	})
}

// GiveUp implements queue.Backend.
func (s *Store) GiveUp(ctx context.Context, it queue.Item, cause error) error {
	seq, attempts, putOff := s.head(it)
	return s.write(ctx, func(b *batch) error {
		if _, err := b.exec(giveUpItem, time.Now().UnixMilli(), cause.Error(), attempts, it.ID); err != nil {
			return err
		}
		return b.free(it.Lane, putOff)
	}, func() { s.lanes.leave(it.Lane, seq) })
}

func (b *batch) free(lane string, putOff bool) error {
	if !putOff {
		return nil
	}
	_, err := b.exec(freeLane, lane)
	return err
}

// Retry implements queue.Backend.
func (s *Store) Retry(ctx context.Context, it queue.Item, at time.Time, failed bool, cause error) error {
	count := 0
	if failed {
		count = 1
	}
	_, attempts, _ := s.head(it)
	return s.write(ctx, func(b *batch) error {
		if _, err := b.exec(retryItem, count, cause.Error(), attempts, it.ID); err != nil {
			return err
		}
		_, err := b.exec(putOffLane, it.Lane, at.UnixMilli())
		return err
	}, func() {
		l := s.lanes.byName[it.Lane]
		if l == nil {
			return
		}
		if len(l.items) > 0 && l.items[0].item.ID == it.ID {
			l.items[0].item.Failures += count
		}
		l.putOff = true
		s.lanes.settle(l, at.UnixMilli(), 0)
	})
}

// DeadItems lists the dead letters, oldest first.
func (s *Store) DeadItems(ctx context.Context) ([]queue.Item, error) {
	rows, err := s.query(ctx, `SELECT id, lane, kind, payload, accepted, attempts, failures FROM items WHERE buried > 0 ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []queue.Item
	for rows.Next() {
		var it queue.Item
		var accepted int64
		if err := rows.Scan(&it.ID, &it.Lane, &it.Kind, &it.Payload, &accepted, &it.Attempts, &it.Failures); err != nil {
			return nil, err
		}
		it.Accepted = time.UnixMilli(accepted).UTC()
		out = append(out, it)
	}
	return out, rows.Err()
}

// Backlog is how many items wait, and how many were given up.
type Backlog struct {
	Waiting, Dead int64
	Oldest        time.Time // acceptance of the oldest waiting item; zero when none waits
}

// Backlog counts the items that wait and the dead letters.
func (s *Store) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	var oldest sql.NullInt64
	s.mu.Lock()
	for _, l := range s.lanes.byName {
		b.Waiting += int64(l.waiting)
	}
	s.mu.Unlock()
	err := s.queryRow(ctx, `SELECT
		(SELECT COUNT(*) FROM items WHERE buried > 0),
		(SELECT accepted FROM items WHERE buried = 0 ORDER BY seq LIMIT 1)`).Scan(&b.Dead, &oldest)
	if oldest.Valid {
		b.Oldest = time.UnixMilli(oldest.Int64).UTC()
	}
	return b, err
}

// Known implements relay.Store.
func (s *Store) Known(ctx context.Context, itemIDs []string) (map[string]bool, error) {
	known := map[string]bool{}
	for len(itemIDs) > 0 {
		n := min(len(itemIDs), 200)
		marks := make([]string, n)
		args := make([]any, n)
		for i, id := range itemIDs[:n] {
			marks[i], args[i] = fmt.Sprintf("$%d", i+1), id
		}
		in := "(" + strings.Join(marks, ",") + ")"
		if err := s.collect(ctx, known, `SELECT id FROM items WHERE id IN `+in+` UNION SELECT id FROM done WHERE id IN `+in, args); err != nil {
			return nil, err
		}
		itemIDs = itemIDs[n:]
	}
	return known, nil
}

func (s *Store) collect(ctx context.Context, into map[string]bool, query string, args []any) error {
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		into[id] = true
	}
	return rows.Err()
}

// MarkKnown implements relay.Store.
func (s *Store) MarkKnown(ctx context.Context, itemID string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO done (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, itemID, time.Now().UnixMilli())
	return err
}

// keepDone is how long the ID of a delivered item is remembered beside its
// links: longer than anything is ever read again from either side.
const keepDone = 30 * 24 * time.Hour

// Prune forgets what is too old to come again.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM done WHERE at < $1`, now.Add(-keepDone).UnixMilli()); err != nil {
		return err
	}
	// A file is needed for as long as its message: captions are edited years later.
	// One that no message shows was uploaded for nothing.
	if _, err := s.db.ExecContext(ctx, `DELETE FROM media WHERE at < $1 AND source LIKE 'mx:%'
		AND NOT EXISTS (SELECT 1 FROM links WHERE mx_event = substr(source, 4))`, now.Add(-keepDone).UnixMilli()); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, `DELETE FROM edits WHERE NOT EXISTS (SELECT 1 FROM links WHERE mx_event = target)`)
	return err
}
