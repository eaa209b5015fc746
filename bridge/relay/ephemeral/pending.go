package ephemeral

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/ids"
)

const (
	workers     = 4
	maxPending  = 1000            // more than that are dropped
	callTimeout = 5 * time.Second // of one call
)

// pending waits with calls that are of no use when they are late. Of those with the
// same key only the newest is kept.
type pending struct {
	mu      sync.Mutex
	waiting map[string]func(context.Context) error
	order   []string
	more    chan struct{}

	typing map[ids.MXRoom]*typists
	unread map[ids.MXRoom]*unread
	names  map[string]knownName
}

// every calls f again and again until ctx ends.
func every(ctx context.Context, d time.Duration, f func(context.Context)) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f(ctx)
		}
	}
}

func newPending() *pending {
	return &pending{
		waiting: map[string]func(context.Context) error{}, more: make(chan struct{}, workers),
		typing: map[ids.MXRoom]*typists{}, unread: map[ids.MXRoom]*unread{}, names: map[string]knownName{},
	}
}

// put adds a call.
func (s *pending) put(key string, call func(context.Context) error) {
	s.mu.Lock()
	_, old := s.waiting[key]
	if old || len(s.order) < maxPending {
		s.waiting[key] = call
		if !old {
			s.order = append(s.order, key)
		}
	}
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// take returns the oldest call.
func (s *pending) take() (func(context.Context) error, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 {
		return nil, false
	}
	key := s.order[0]
	s.order = s.order[1:]
	call := s.waiting[key]
	delete(s.waiting, key)
	return call, true
}
