package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"appliance/bridge/queue"
)

// itemTable has the items waiting to be delivered: what package queue needs.
type itemTable struct{ *writer }

// Add implements queue.Backend.
func (s *itemTable) Add(ctx context.Context, now time.Time, items ...queue.Item) (int, error) {
	return s.Accept(ctx, now, items, nil)
}

// Accept implements relay.Store.
func (s *itemTable) Accept(ctx context.Context, now time.Time, items []queue.Item, cursors map[string]string) (added int, err error) {
	var in []inserted
	err = s.write(ctx, &write{lanes: lanesOf(items), collects: true, do: func(b *batch) error {
		if err := s.keeper.insert(b, now, items, &in); err != nil {
			return err
		}
		return s.keeper.cursors(b, cursors)
	}, committed: func() { s.keeper.count(in) }})
	if err != nil {
		return 0, fmt.Errorf("store %d events: %w", len(items), err)
	}
	return len(in), nil
}

// lanesOf returns the lanes of items.
func lanesOf(items []queue.Item) []string {
	lanes := make([]string, len(items))
	for i, it := range items {
		lanes[i] = it.Lane
	}
	return lanes
}

// inserted is a newly added item.
type inserted struct {
	seq  int64
	item queue.Item
}

const (
	putCursor = `INSERT INTO cursors (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	putDone   = `INSERT INTO done (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`
)

// Claim implements queue.Backend.
func (s *itemTable) Claim(ctx context.Context, class queue.Class, now time.Time) (queue.Item, bool, error) {
	return s.keeper.claim(ctx, class, now)
}

// Next implements queue.Backend.
func (s *itemTable) Next(_ context.Context, class queue.Class, now time.Time) (time.Duration, bool, error) {
	in, ok := s.keeper.next(class, now)
	return in, ok, nil
}

// Hasten implements queue.Backend.
func (s *itemTable) Hasten(ctx context.Context, now time.Time, lanes []string) error {
	return s.keeper.hasten(ctx, now, lanes)
}

// Waiting implements relay.Store.
func (s *itemTable) Waiting(ctx context.Context, lane string) (int, error) {
	return s.keeper.waiting(ctx, lane)
}

// Awaited implements relay.Store.
func (s *itemTable) Awaited(ctx context.Context, lane, kind string) (awaited bool, err error) {
	err = s.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM items WHERE lane = $1 AND kind = $2 AND buried = 0)`, lane, kind).Scan(&awaited)
	return awaited, err
}

// Done implements queue.Backend.
func (s *itemTable) Done(ctx context.Context, it queue.Item, receipts []queue.Receipt, free func()) error {
	h, err := s.keeper.head(it)
	if err != nil {
		return err
	}
	l := &leaving{lane: it.Lane, seq: h.seq, receipts: receipts, stored: make(chan struct{})}
	w := &write{
		lease: it.Lease, collects: true, patient: free != nil, do: func(b *batch) error { return s.keeper.done(b, it, h, receipts) },
		committed: func() { l.written = true },
	}
	if err := s.send(ctx, w); err != nil {
		return s.keeper.failed(it, err)
	}
	s.mu.Lock()
	s.leaving[l] = true
	s.mu.Unlock()
	s.await(func(before *leaving) bool { return before != l && before.lane == it.Lane })
	s.mu.Lock()
	s.keeper.leave(it, h)
	s.mu.Unlock()
	if free != nil {
		free()
	}
	if err = s.outcome(w); err != nil {
		err = s.keeper.failed(it, err) // before another process can take the lane
	}
	s.mu.Lock()
	delete(s.leaving, l)
	s.mu.Unlock()
	close(l.stored)
	return err
}

// leaving is a delivered item that has left its lane in memory while its outcome is being
// written.
type leaving struct {
	lane     string
	seq      int64
	receipts []queue.Receipt
	written  bool          // whether it is on disk; guarded by writer.mu
	stored   chan struct{} // closed when it is written, or cannot be
}

// storing returns the lanes whose delivered items are still being written. The caller
// holds writer.mu.
func (s *writer) storing() map[string]bool {
	lanes := make(map[string]bool, len(s.leaving))
	for l := range s.leaving {
		lanes[l.lane] = true
	}
	return lanes
}

// await waits until the leaving items that fit are written.
func (s *writer) await(fits func(*leaving) bool) {
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
		s.hurry()
		<-wait
	}
}

// awaitLinks waits until the links of a message or an event are written, if it was just
// delivered.
func (s *writer) awaitLinks(id string) {
	s.await(func(l *leaving) bool {
		return slices.ContainsFunc(l.receipts, func(r queue.Receipt) bool { return r.RCMessage == id || r.MXEvent == id })
	})
}

// GiveUp implements queue.Backend.
func (s *itemTable) GiveUp(ctx context.Context, it queue.Item, cause error) error {
	h, err := s.keeper.head(it)
	if err != nil {
		return err
	}
	err = s.write(ctx, &write{
		lease: it.Lease, do: func(b *batch) error { return s.keeper.giveUp(b, it, h, cause) },
		committed: func() { s.keeper.leave(it, h) },
	})
	if err != nil {
		return s.keeper.failed(it, err)
	}
	return nil
}

// Retry implements queue.Backend.
func (s *itemTable) Retry(ctx context.Context, it queue.Item, now time.Time, after time.Duration, failed bool, cause error) error {
	h, err := s.keeper.head(it)
	if err != nil {
		return err
	}
	p := postponed{now: now, after: after, cause: cause}
	if failed {
		p.failed = 1
	}
	err = s.write(ctx, &write{
		lease: it.Lease, lanes: []string{it.Lane}, do: func(b *batch) error { return s.keeper.putOff(b, it, h, p) },
		committed: func() { s.keeper.wait(it, h, p) },
	})
	if err != nil {
		return s.keeper.failed(it, err)
	}
	return nil
}

// DeadItems lists the dead letters, oldest first.
func (s *itemTable) DeadItems(ctx context.Context) ([]queue.Item, error) {
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

// Backlog is the number of waiting items and of dead letters.
type Backlog struct {
	Waiting, Dead int64
	Oldest        time.Time // acceptance of the oldest waiting item; zero when none waits
}

// Backlog counts the waiting items and the dead letters.
func (s *itemTable) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	var oldest sql.NullInt64
	var err error
	if b.Waiting, err = s.keeper.backlog(ctx); err != nil {
		return b, err
	}
	err = s.queryRow(ctx, `SELECT
		(SELECT COUNT(*) FROM items WHERE buried > 0),
		(SELECT accepted FROM items WHERE buried = 0 ORDER BY seq LIMIT 1)`).Scan(&b.Dead, &oldest)
	if oldest.Valid {
		b.Oldest = time.UnixMilli(oldest.Int64).UTC()
	}
	return b, err
}

// Known implements relay.Store.
func (s *itemTable) Known(ctx context.Context, itemIDs []string) (map[string]bool, error) {
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

// MarkKnown implements relay.Store.
func (s *itemTable) MarkKnown(ctx context.Context, itemID string) error {
	_, err := s.exec(ctx, `INSERT INTO done (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, itemID, time.Now().UnixMilli())
	return err
}

// keepDone is how long the ID of a delivered item is remembered apart from its links:
// longer than either side ever re-reads anything.
const keepDone = 30 * 24 * time.Hour

// Prune deletes records too old to be needed again.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM done WHERE at < $1`, now.Add(-keepDone).UnixMilli()); err != nil {
		return err
	}
	// A file is needed as long as its message, because captions are edited years later. A
	// file that no message shows was never used.
	if _, err := s.db.ExecContext(ctx, `DELETE FROM media WHERE at < $1 AND source LIKE 'mx:%'
		AND NOT EXISTS (SELECT 1 FROM links WHERE mx_event = substr(source, 4))`, now.Add(-keepDone).UnixMilli()); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, `DELETE FROM edits WHERE NOT EXISTS (SELECT 1 FROM links WHERE mx_event = target)`)
	return err
}
