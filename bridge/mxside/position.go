package mxside

import (
	"context"
	"time"

	"appliance/bridge/queue"
)

// storeEvery is how often a position is stored when nothing has come that is.
const storeEvery = time.Minute

// position is how far a /sync was read, beyond what is stored: typing
// moves it and is not worth a write. After a crash that much is read again, and
// known already.
type position struct {
	since  string
	stored time.Time
}

// since returns where a /sync goes on.
func (s *syncer) since(ctx context.Context, key string) (string, error) {
	s.mu.Lock()
	p, ok := s.positions[key]
	s.mu.Unlock()
	if ok {
		return p.since, nil
	}
	return s.inbox.store.Cursor(ctx, key)
}

// moved stores what a /sync brought, and how far it was read.
func (s *syncer) moved(ctx context.Context, key, next string, items []queue.Item) error {
	s.mu.Lock()
	p := s.positions[key]
	s.mu.Unlock()
	if p.since == next && len(items) == 0 {
		return nil
	}
	if len(items) > 0 || time.Since(p.stored) > storeEvery {
		if err := s.inbox.accept(ctx, items, map[string]string{key: next}); err != nil {
			return err
		}
		p.stored = time.Now()
	}
	p.since = next
	s.mu.Lock()
	defer s.mu.Unlock()
	s.positions[key] = p
	return nil
}

// forgetPosition drops what is remembered beyond what is stored.
func (s *syncer) forgetPosition(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.positions, key)
}
