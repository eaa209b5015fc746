package queuetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"appliance/bridge/queue"
)

// Memory is an in-memory queue.Backend: the reference for the databases, and a backend
// for testing the worker.
type Memory struct {
	mu    sync.Mutex
	seen  map[string]bool
	lanes map[string]*memoryLane
	dead  []queue.Item
	links []queue.Receipt
}

type memoryLane struct {
	items []queue.Item
	due   time.Time
	busy  bool // its first item is being delivered
}

// Add implements queue.Backend.
func (m *Memory) Add(ctx context.Context, now time.Time, items ...queue.Item) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen, m.lanes = map[string]bool{}, map[string]*memoryLane{}
	}
	added := 0
	for _, it := range items {
		if m.seen[it.ID] {
			continue
		}
		m.seen[it.ID] = true
		added++
		it.Accepted = now
		l := m.lanes[it.Lane]
		if l == nil {
			l = &memoryLane{}
			m.lanes[it.Lane] = l
		}
		l.items = append(l.items, it)
	}
	return added, nil
}

// Claim implements queue.Backend.
func (m *Memory) Claim(_ context.Context, class queue.Class, now time.Time) (queue.Item, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, l := range m.lanes {
		if queue.ClassOf(name) == class && len(l.items) > 0 && !l.due.After(now) && !l.busy {
			l.busy = true
			it := l.items[0]
			l.items[0].Attempts++
			return it, true, nil
		}
	}
	return queue.Item{}, false, nil
}

// Next implements queue.Backend.
func (m *Memory) Next(_ context.Context, class queue.Class, now time.Time) (time.Duration, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var in time.Duration
	ok := false
	for name, l := range m.lanes {
		if queue.ClassOf(name) != class || len(l.items) == 0 || l.busy {
			continue
		}
		if until := max(0, l.due.Sub(now)); !ok || until < in {
			in, ok = until, true
		}
	}
	return in, ok, nil
}

// Done implements queue.Backend.
func (m *Memory) Done(_ context.Context, it queue.Item, receipts []queue.Receipt, free func()) error {
	m.mu.Lock()
	m.drop(it)
	m.links = append(m.links, receipts...)
	m.mu.Unlock()
	if free != nil {
		free()
	}
	return nil
}

// Retry implements queue.Backend.
func (m *Memory) Retry(_ context.Context, it queue.Item, now time.Time, after time.Duration, failed bool, _ error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lanes[it.Lane]
	l.due, l.busy = now.Add(after), false
	if failed {
		l.items[0].Failures++
	}
	return nil
}

// Hasten implements queue.Backend.
func (m *Memory) Hasten(_ context.Context, now time.Time, lanes []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range lanes {
		if l := m.lanes[name]; l != nil && l.due.After(now) {
			l.due = now
		}
	}
	return nil
}

// GiveUp implements queue.Backend.
func (m *Memory) GiveUp(_ context.Context, it queue.Item, _ error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(it)
	m.dead = append(m.dead, it)
	return nil
}

// DeadItems lists the dead letters, oldest first.
func (m *Memory) DeadItems(context.Context) ([]queue.Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.dead), nil
}

// Receipts lists what Done was given.
func (m *Memory) Receipts() []queue.Receipt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.links)
}

func (m *Memory) drop(it queue.Item) {
	l := m.lanes[it.Lane]
	l.items = slices.DeleteFunc(l.items, func(o queue.Item) bool { return o.ID == it.ID })
	l.due, l.busy = time.Time{}, false
}
