package store

import (
	"container/heap"
	"context"
	"time"

	"appliance/bridge/queue"
)

// Which lanes wait, and until when, is held in memory: one process has the
// database, and after a crash every lane is free again. The items themselves are
// on disk; those that were accepted just now are kept at hand, up to maxAtHand.

const (
	// maxAtHand bounds the payloads kept in memory, in bytes.
	maxAtHand = 8 << 20
	// readAhead is how many items of a lane are read at once.
	readAhead = 16
)

// A lane is what is known of a lane in which something waits.
type lane struct {
	name    string
	waiting int
	due     int64 // when its first item may be tried, in milliseconds
	held    int64 // until when somebody delivers it; 0 when nobody does
	putOff  bool  // due is in the database too
	items   []atHand
	class   queue.Class
	index   int // in lanes.byTurn of its class
}

// atHand is a waiting item in memory.
type atHand struct {
	seq  int64
	item queue.Item
}

func (l *lane) turn() int64 { return max(l.due, l.held) }

// lanes are those in which something waits.
type lanes struct {
	byName map[string]*lane
	byTurn [queue.Classes]turns
	bytes  int   // of payloads at hand
	seen   int64 // the highest seq that has been counted
}

// turns is a heap of lanes by when their turn comes.
type turns []*lane

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].turn() < t[j].turn() }
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

// add counts an item that was stored. due is when a lane that was empty has its
// turn.
func (ls *lanes) add(seq int64, it queue.Item, due int64) {
	l := ls.byName[it.Lane]
	if l == nil {
		l = &lane{name: it.Lane, class: queue.ClassOf(it.Lane), due: due}
		ls.byName[it.Lane] = l
		heap.Push(&ls.byTurn[l.class], l)
	}
	if len(l.items) == l.waiting && ls.bytes+len(it.Payload) <= maxAtHand {
		l.items = append(l.items, atHand{seq, it})
		ls.bytes += len(it.Payload)
	}
	l.waiting++
	ls.seen = max(ls.seen, seq)
}

// settle changes when a lane has its turn.
func (ls *lanes) settle(l *lane, due, held int64) {
	l.due, l.held = due, held
	heap.Fix(&ls.byTurn[l.class], l.index)
}

// leave takes the first item out of a lane, which is free then.
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
		heap.Remove(&ls.byTurn[l.class], l.index)
		delete(ls.byName, name)
		return
	}
	l.putOff = false
	ls.settle(l, 0, 0)
}

// load counts what an earlier process left.
func (s *Store) load(ctx context.Context) error {
	s.lanes, s.leaving = lanes{byName: map[string]*lane{}, seen: s.last}, map[*leaving]bool{}
	rows, err := s.query(ctx, `SELECT i.lane, COUNT(*), COALESCE(MIN(l.due), 0) FROM items i LEFT JOIN lanes l ON l.lane = i.lane
		WHERE i.buried = 0 GROUP BY i.lane`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		l := &lane{}
		if err := rows.Scan(&l.name, &l.waiting, &l.due); err != nil {
			return err
		}
		l.putOff, l.class = l.due > 0, queue.ClassOf(l.name)
		s.lanes.byName[l.name] = l
		heap.Push(&s.lanes.byTurn[l.class], l)
	}
	return rows.Err()
}

const readItems = `SELECT seq, id, kind, payload, accepted, attempts, failures FROM items
	WHERE lane = $1 AND buried = 0 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4`

// fetch brings the first items of a lane to hand.
func (s *Store) fetch(ctx context.Context, l *lane) error {
	left := int64(0)
	for gone := range s.leaving {
		if gone.lane == l.name {
			left = gone.seq // it may be in the database still
		}
	}
	rows, err := s.query(ctx, readItems, l.name, left, s.lanes.seen, readAhead)
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
		s.lanes.bytes += len(a.item.Payload)
	}
	return rows.Err()
}

// Claim implements queue.Backend.
func (s *Store) Claim(ctx context.Context, class queue.Class, now time.Time, lease time.Duration) (queue.Item, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.lanes.byTurn[class]) > 0 {
		l := s.lanes.byTurn[class][0]
		if l.turn() > now.UnixMilli() {
			break
		}
		if len(l.items) == 0 {
			if err := s.fetch(ctx, l); err != nil {
				return queue.Item{}, false, err
			}
		}
		if len(l.items) == 0 { // what was counted is not there any more
			l.waiting = 0
			s.lanes.leave(l.name, 0)
			continue
		}
		s.lanes.settle(l, l.due, now.Add(lease).UnixMilli())
		it := l.items[0].item
		l.items[0].item.Attempts++
		return it, true, nil
	}
	return queue.Item{}, false, nil
}

// Next implements queue.Backend.
func (s *Store) Next(_ context.Context, class queue.Class) (time.Time, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at int64
	ok := false
	for _, l := range s.lanes.byTurn[class] {
		if l.held == 0 && (!ok || l.due < at) {
			at, ok = l.due, true
		}
	}
	return time.UnixMilli(at).UTC(), ok, nil
}

// Renew implements queue.Backend.
func (s *Store) Renew(_ context.Context, it queue.Item, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes.byName[it.Lane]; l != nil && l.held > 0 && len(l.items) > 0 && l.items[0].item.ID == it.ID {
		s.lanes.settle(l, l.due, until.UnixMilli())
	}
	return nil
}

// Waiting implements relay.Store.
func (s *Store) Waiting(_ context.Context, name string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes.byName[name]; l != nil {
		return l.waiting, nil
	}
	return 0, nil
}

// head returns the seq of the item that a claim has given out, and what is known
// of its lane.
func (s *Store) head(it queue.Item) (seq int64, attempts int, putOff bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes.byName[it.Lane]
	if l == nil || len(l.items) == 0 || l.items[0].item.ID != it.ID {
		return 0, it.Attempts + 1, true
	}
	return l.items[0].seq, l.items[0].item.Attempts, l.putOff
}
