package store

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"appliance/bridge/queue"
)

// memory is the keeper for SQLite. It holds in memory which lanes have items and when
// their turns come: only one process has the database, and after a crash every lane is
// free again. The items themselves are on disk; recently accepted ones are also cached,
// up to maxAtHand.
type memory struct {
	s     *writer
	last  int64 // the highest seq on disk; set by the writer, guarded by writer.mu
	lanes lanes // guarded by writer.mu
}

const (
	// maxAtHand bounds the cached payloads, in bytes.
	maxAtHand = 8 << 20
	// readAhead is how many items of a lane are read at once.
	readAhead = 16
)

// A lane is the state of a lane that has items.
type lane struct {
	name    string
	waiting int
	due     int64 // when its first item may be tried, in milliseconds
	busy    bool  // its first item is being delivered
	putOff  bool  // due is also in the database
	items   []atHand
	class   queue.Class
	index   int // in lanes.byTurn of its class; -1 while busy
}

// atHand is a waiting item cached in memory.
type atHand struct {
	seq  int64
	item queue.Item
	done bool // it was already delivered
}

// lanes holds the lanes that have items.
type lanes struct {
	byName map[string]*lane
	byTurn [queue.Classes]turns
	bytes  int   // of cached payloads
	seen   int64 // the highest seq counted
}

// turns is a heap of the lanes that are not busy, ordered by when they are due.
type turns []*lane

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].due < t[j].due }
func (t turns) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push implements heap.Interface.
func (t *turns) Push(x any) {
	l, _ := x.(*lane)
	l.index = len(*t)
	*t = append(*t, l)
}

// Pop implements heap.Interface.
func (t *turns) Pop() any {
	old := *t
	l := old[len(old)-1]
	*t = old[:len(old)-1]
	return l
}

// add counts a stored item. due is the turn of a lane that was empty.
func (ls *lanes) add(seq int64, it queue.Item, due int64) {
	l := ls.byName[it.Lane]
	if l == nil {
		l = &lane{name: it.Lane, class: queue.ClassOf(it.Lane), due: due}
		ls.byName[it.Lane] = l
		heap.Push(&ls.byTurn[l.class], l)
	}
	if len(l.items) == l.waiting && ls.bytes+len(it.Payload) <= maxAtHand {
		l.items = append(l.items, atHand{seq: seq, item: it})
		ls.bytes += len(it.Payload)
	}
	l.waiting++
	ls.seen = max(ls.seen, seq)
}

// turn makes a lane not busy and sets when it is due.
func (ls *lanes) turn(l *lane, due int64) {
	l.due = due
	if l.busy {
		l.busy = false
		heap.Push(&ls.byTurn[l.class], l)
	} else {
		heap.Fix(&ls.byTurn[l.class], l.index)
	}
}

// leave removes the first item of a lane, which frees the lane.
func (ls *lanes) leave(name string, seq int64) {
	l := ls.byName[name]
	if l == nil {
		return
	}
	if len(l.items) > 0 && l.items[0].seq == seq {
		ls.bytes -= len(l.items[0].item.Payload)
		l.items[0] = atHand{}
		l.items = l.items[1:]
	}
	if l.waiting--; l.waiting <= 0 {
		if !l.busy {
			heap.Remove(&ls.byTurn[l.class], l.index)
		}
		delete(ls.byName, name)
		return
	}
	l.putOff = false
	ls.turn(l, 0)
}

// start counts the items left by an earlier process.
func (m *memory) start(ctx context.Context) error {
	if err := m.s.db.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM items`).Scan(&m.last); err != nil {
		return fmt.Errorf("read the last item: %w", err)
	}
	// The first two items of each lane may have been sent by an earlier process, which
	// began the second while the first was still being recorded as done.
	if _, err := m.s.db.ExecContext(ctx, markDoubtful); err != nil {
		return fmt.Errorf("mark unfinished items: %w", err)
	}
	m.lanes = lanes{byName: map[string]*lane{}, seen: m.last}
	rows, err := m.s.query(ctx, `SELECT i.lane, COUNT(*), COALESCE(MIN(l.due), 0) FROM items i LEFT JOIN lanes l ON l.lane = i.lane
		WHERE i.buried = 0 GROUP BY i.lane`)
	if err != nil {
		return fmt.Errorf("count the items: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		l := &lane{}
		if err := rows.Scan(&l.name, &l.waiting, &l.due); err != nil {
			return err
		}
		l.putOff, l.class = l.due > 0, queue.ClassOf(l.name)
		m.lanes.byName[l.name] = l
		heap.Push(&m.lanes.byTurn[l.class], l)
	}
	return rows.Err()
}

func (m *memory) stop() {}

func (m *memory) statements() []string {
	return []string{insertItem, putCursor, putLink, deleteItem, putDone, giveUpItem, retryItem, putOffLane, freeLane}
}

func (m *memory) begin(*batch, []*write) error { return nil }

func (m *memory) flush(*batch) error { return nil }

// markDoubtful marks the first two items of each lane as already tried.
const markDoubtful = `UPDATE items SET attempts = 1 WHERE attempts = 0 AND buried = 0 AND seq IN (
	SELECT seq FROM (SELECT seq, ROW_NUMBER() OVER (PARTITION BY lane ORDER BY seq) AS place FROM items WHERE buried = 0) AS waiting WHERE place <= 2)`

const (
	insertItem = `INSERT INTO items (seq, id, lane, kind, payload, accepted)
		SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), $5, CAST($6 AS BIGINT)
		WHERE NOT EXISTS (SELECT 1 FROM done WHERE id = $2) AND NOT EXISTS (SELECT 1 FROM items WHERE id = $2)`
	putLink = `INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event, mx_sender) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (item, part) DO UPDATE SET rc_message = excluded.rc_message, mx_event = excluded.mx_event`
	deleteItem = `DELETE FROM items WHERE id = $1`
	giveUpItem = `UPDATE items SET buried = $1, cause = $2, attempts = $3 WHERE id = $4`
	retryItem  = `UPDATE items SET failures = failures + $1, cause = $2, attempts = $3 WHERE id = $4`
	putOffLane = `INSERT INTO lanes (lane, waiting, due, held) VALUES ($1, 0, $2, 0) ON CONFLICT (lane) DO UPDATE SET due = excluded.due`
	freeLane   = `DELETE FROM lanes WHERE lane = $1`
)

func (m *memory) nextSeq(b *batch) (int64, error) {
	b.last = max(b.last, m.last) + 1
	return b.last, nil
}

func (m *memory) insert(b *batch, now time.Time, items []queue.Item, in *[]inserted) error {
	*in = nil
	b.last = max(b.last, m.last)
	for _, it := range items {
		if it.Payload == nil {
			it.Payload = []byte{}
		}
		res, err := b.exec(insertItem, b.last+1, it.ID, it.Lane, it.Kind, it.Payload, now.UnixMilli())
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			continue
		}
		b.last++
		it.Accepted = time.UnixMilli(now.UnixMilli()).UTC()
		*in = append(*in, inserted{b.last, it})
	}
	return nil
}

func (m *memory) cursors(b *batch, cursors map[string]string) error {
	for name, value := range cursors {
		if _, err := b.exec(putCursor, name, value); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) done(b *batch, it queue.Item, h head, receipts []queue.Receipt) error {
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
	return freeLaneOf(b, it, h)
}

func (m *memory) giveUp(b *batch, it queue.Item, h head, cause error) error {
	if _, err := b.exec(giveUpItem, time.Now().UnixMilli(), cause.Error(), h.attempts, it.ID); err != nil {
		return err
	}
	return freeLaneOf(b, it, h)
}

// freeLaneOf deletes the record that a lane's turn was put off.
func freeLaneOf(b *batch, it queue.Item, h head) error {
	if !h.putOff {
		return nil
	}
	_, err := b.exec(freeLane, it.Lane)
	return err
}

func (m *memory) putOff(b *batch, it queue.Item, h head, p postponed) error {
	if _, err := b.exec(retryItem, p.failed, p.cause.Error(), h.attempts, it.ID); err != nil {
		return err
	}
	_, err := b.exec(putOffLane, it.Lane, p.now.Add(p.after).UnixMilli())
	return err
}

func (m *memory) count(in []inserted) {
	for _, i := range in {
		m.last = max(m.last, i.seq)
		m.lanes.add(i.seq, i.item, i.item.Accepted.UnixMilli())
	}
}

func (m *memory) leave(it queue.Item, h head) { m.lanes.leave(it.Lane, h.seq) }

func (m *memory) wait(it queue.Item, _ head, p postponed) {
	l := m.lanes.byName[it.Lane]
	if l == nil {
		return
	}
	if len(l.items) > 0 && l.items[0].item.ID == it.ID {
		l.items[0].item.Failures += p.failed
	}
	l.putOff = true
	m.lanes.turn(l, p.now.Add(p.after).UnixMilli())
}

func (m *memory) failed(_ queue.Item, err error) error { return err }

const readItems = `SELECT seq, id, kind, payload, accepted, attempts, failures FROM items
	WHERE lane = $1 AND buried = 0 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4`

// fetch caches the first items of a lane.
func (m *memory) fetch(ctx context.Context, l *lane) error {
	left := int64(0)
	for gone := range m.s.leaving {
		if gone.lane == l.name {
			left = gone.seq // it may still be in the database
		}
	}
	rows, err := m.s.query(ctx, readItems, l.name, left, m.lanes.seen, readAhead)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		a := atHand{item: queue.Item{Lane: l.name}}
		var accepted int64
		if err := rows.Scan(&a.seq, &a.item.ID, &a.item.Kind, &a.item.Payload, &accepted, &a.item.Attempts, &a.item.Failures); err != nil {
			return err
		}
		a.item.Accepted = time.UnixMilli(accepted).UTC()
		l.items = append(l.items, a)
		m.lanes.bytes += len(a.item.Payload)
	}
	return rows.Err()
}

func (m *memory) claim(ctx context.Context, class queue.Class, now time.Time) (queue.Item, bool, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for turns := &m.lanes.byTurn[class]; len(*turns) > 0; {
		l := (*turns)[0]
		if l.due > now.UnixMilli() {
			break
		}
		if len(l.items) == 0 {
			if err := m.fetch(ctx, l); err != nil {
				return queue.Item{}, false, err
			}
		}
		if len(l.items) == 0 { // an operator dropped the counted items
			l.waiting = 0
			m.lanes.leave(l.name, 0)
			continue
		}
		for gone := range m.s.leaving {
			if gone.lane == l.name && !gone.written {
				m.s.hurry() // written while this item is delivered, because Done waits for it
			}
		}
		heap.Pop(turns)
		l.busy, l.index = true, -1
		it := l.items[0].item
		l.items[0].item.Attempts++
		return it, true, nil
	}
	return queue.Item{}, false, nil
}

func (m *memory) next(class queue.Class, now time.Time) (time.Duration, bool) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	turns := m.lanes.byTurn[class]
	if len(turns) == 0 {
		return 0, false
	}
	return max(0, time.UnixMilli(turns[0].due).Sub(now)), true
}

// hasten changes only the memory: after a crash the lanes wait as originally scheduled.
func (m *memory) hasten(_ context.Context, now time.Time, names []string) error {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for _, name := range names {
		if l := m.lanes.byName[name]; l != nil && !l.busy && l.due > now.UnixMilli() {
			m.lanes.turn(l, now.UnixMilli())
		}
	}
	return nil
}

func (m *memory) waiting(_ context.Context, name string) (int, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if l := m.lanes.byName[name]; l != nil {
		return l.waiting, nil
	}
	return 0, nil
}

func (m *memory) backlog(context.Context) (n int64, err error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for _, l := range m.lanes.byName {
		n += int64(l.waiting)
	}
	return n, nil
}

func (m *memory) head(it queue.Item) (head, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	l := m.lanes.byName[it.Lane]
	if l == nil || len(l.items) == 0 || l.items[0].item.ID != it.ID {
		return head{attempts: it.Attempts + 1, putOff: true}, nil
	}
	return head{l.items[0].seq, l.items[0].item.Attempts, l.putOff}, nil
}
