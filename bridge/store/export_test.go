package store

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"appliance/bridge/queue"
)

// MovedTables are the tables that a move copies.
var MovedTables = movedTables

// QueryPatience is how long a server may take to answer.
const QueryPatience = queryPatience

// RecalledFor is how long a process trusts what it recalls without hearing from the database.
const RecalledFor = recalledFor

// At makes a move call f at points where a crash is of interest.
func (m Moving) At(f func(point string)) Moving {
	m.at = f
	return m
}

// WithSchema opens a database as another release with other migrations does.
func WithSchema(schema fs.FS) Option { return func(o *options) { o.schema = schema } }

// Linger sets how long patient writes wait for others. It is called before the first one.
func (s *Store) Linger(d time.Duration) { s.linger = d }

// WriteLate sends a write at the moment the store stops accepting any.
func (s *Store) WriteLate() error {
	w := &write{result: make(chan error, 1)}
	s.writes <- w
	return s.outcome(w)
}

// Die ends a store as the death of its process would: nothing is released.
func (s *Store) Die() {
	if k, ok := s.keeper.(*shared); ok {
		k.end()
		k.running.Wait()
		k.end = nil
	}
	_ = s.Close()
}

// Pause stops a store's background work, as SIGSTOP would: leases are not renewed and
// notifications are not received.
func (s *Store) Pause() {
	if k, ok := s.keeper.(*shared); ok {
		k.end()
		k.running.Wait()
	}
}

// LookNow makes the next claim look for free lanes.
func (s *Store) LookNow() {
	k, ok := s.keeper.(*shared)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for class := range queue.Classes {
		k.dirty[class] = true
	}
}

// Renew does the periodic work.
func (s *Store) Renew(ctx context.Context, t testing.TB) {
	if k, ok := s.keeper.(*shared); ok {
		if err := k.renewAll(ctx); err != nil {
			t.Error(err)
		}
	}
}
