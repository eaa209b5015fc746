package mxside

import (
	"context"
	"time"

	"appliance/bridge/queue"
)

// storeEvery is how often a position is stored when nothing has come that is.
const storeEvery = time.Minute

// position is how far a /sync was read, beyond what is stored: somebody's typing
// moves it and is not worth a write. After a crash that much is read again, and
// known already.
type position struct {
	since  string
	stored time.Time
}

// since returns where a /sync goes on.
func (s *Side) since(ctx context.Context, key string) (string, error) {
	s.followMu.Lock()
	p, ok := s.positions[key]
	s.followMu.Unlock()
	if ok {
		return p.since, nil
	}
	return s.Store.Cursor(ctx, key)
}

// moved stores what a /sync brought, and how far it was read.
func (s *Side) moved(ctx context.Context, key, next string, items []queue.Item) error {
	s.followMu.Lock()
	p := s.positions[key]
	s.followMu.Unlock()
	if p.since == next && len(items) == 0 {
		return nil
	}
	if len(items) > 0 || time.Since(p.stored) > storeEvery {
		if err := s.Accept(ctx, items, map[string]string{key: next}); err != nil {
			return err
		}
		p.stored = time.Now()
	}
	p.since = next
	s.followMu.Lock()
	defer s.followMu.Unlock()
	s.positions[key] = p
	return nil
}

// forgetPosition drops what is remembered beyond what is stored.
func (s *Side) forgetPosition(key string) {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	delete(s.positions, key)
}
