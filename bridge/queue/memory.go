package queue

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Memory is a Backend that forgets everything with the process. It is the
// reference for the databases and serves tests; nothing is kept on disk.
type Memory struct {
	mu    sync.Mutex
	seen  map[string]bool
	lanes map[string]*memoryLane
	dead  []Item
	links []Receipt
}

type memoryLane struct {
	items     []Item
	due, held time.Time
}

// Add implements Backend.
func (m *Memory) Add(ctx context.Context, now time.Time, items ...Item) (int, error) {
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

// Claim implements Backend.
func (m *Memory) Claim(_ context.Context, class Class, now time.Time, lease time.Duration) (Item, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, l := range m.lanes {
		if ClassOf(name) == class && len(l.items) > 0 && !l.due.After(now) && !l.held.After(now) {
			l.held = now.Add(lease)
			it := l.items[0]
			l.items[0].Attempts++
			return it, true, nil
		}
	}
	return Item{}, false, nil
}

// Next implements Backend.
func (m *Memory) Next(_ context.Context, class Class) (time.Time, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var at time.Time
	ok := false
	for name, l := range m.lanes {
		if ClassOf(name) != class || len(l.items) == 0 || !l.held.IsZero() {
			continue
		}
		if !ok || l.due.Before(at) {
			at, ok = l.due, true
		}
	}
	return at, ok, nil
}

// Renew implements Backend.
func (m *Memory) Renew(_ context.Context, it Item, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.lanes[it.Lane]; l != nil && !l.held.IsZero() {
		l.held = until
	}
	return nil
}

// Done implements Backend.
func (m *Memory) Done(_ context.Context, it Item, receipts []Receipt, free func()) error {
	m.mu.Lock()
	m.drop(it)
	m.links = append(m.links, receipts...)
	m.mu.Unlock()
	if free != nil {
		free()
	}
	return nil
}

// Retry implements Backend.
func (m *Memory) Retry(_ context.Context, it Item, at time.Time, failed bool, _ error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lanes[it.Lane]
	l.due, l.held = at, time.Time{}
	if failed {
		l.items[0].Failures++
	}
	return nil
}

// GiveUp implements Backend.
func (m *Memory) GiveUp(_ context.Context, it Item, _ error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(it)
	m.dead = append(m.dead, it)
	return nil
}

// DeadItems lists the dead letters, oldest first.
func (m *Memory) DeadItems(context.Context) ([]Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.dead), nil
}

// Receipts lists what Done was given.
func (m *Memory) Receipts() []Receipt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.links)
}

func (m *Memory) drop(it Item) {
	l := m.lanes[it.Lane]
	l.items = slices.DeleteFunc(l.items, func(o Item) bool { return o.ID == it.ID })
	l.due, l.held = time.Time{}, time.Time{}
}
