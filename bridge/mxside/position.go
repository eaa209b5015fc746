package mxside

import (
	"context"
	"errors"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// syncCursor is the name of the cursor of the bot's /sync, and the prefix of those of ghosts.
const syncCursor = "mx:sync"

// storeEvery is how often a position is stored if nothing arrives that is stored.
const storeEvery = time.Minute

// position is how far a /sync was read, which may be further than what is stored:
// typing moves it and is not worth a write. After a crash that part is read again,
// and already known.
type position struct {
	since  string
	stored time.Time
}

// positions tracks how far each /sync was read. Methods are safe for concurrent use.
type positions struct {
	*client
	inbox *inbox

	mu      sync.Mutex
	read    map[string]position // by cursor
	failing map[string]int      // consecutive failed polls, by cursor; -1 after a reset
}

// since returns where a /sync continues.
func (s *positions) since(ctx context.Context, key string) (string, error) {
	s.mu.Lock()
	p, ok := s.read[key]
	s.mu.Unlock()
	if ok {
		return p.since, nil
	}
	return s.inbox.store.Cursor(ctx, key)
}

// moved stores what a /sync returned, and how far it was read.
func (s *positions) moved(ctx context.Context, key, next string, items []queue.Item) error {
	s.mu.Lock()
	p := s.read[key]
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
	s.read[key] = p
	return nil
}

// forget drops a position from memory; the stored one remains.
func (s *positions) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.read, key)
}

// maxStuck is how many consecutive polls may fail before the position is abandoned.
const maxStuck = 3

// failed handles a failed poll, and returns its error. One event can make every /sync from a
// position fail: Dendrite (0.15) keeps answering 500 once a room has an event that is nested
// nearly 10,000 levels deep. So after several failures of a homeserver that answers
// everything else, polling starts from a new position, and the rooms are read back.
func (s *positions) failed(ctx context.Context, user ids.MXUser, key, since string, err error) error {
	if since == "" || ctx.Err() != nil {
		return err
	}
	s.mu.Lock()
	s.failing[key] = max(s.failing[key], 0) + 1
	often := s.failing[key] >= maxStuck
	s.mu.Unlock()
	if !often || !s.answersOtherwise(ctx, user) {
		return err
	}
	if err := s.inbox.store.MoveCursor(ctx, key, ""); err != nil {
		return err
	}
	s.log.Error("sync keeps failing; it restarts from a new position", "mx_user", user, "failures", maxStuck, "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read[key] = position{}
	s.failing[key] = -1
	return err
}

// cameThrough notes that a poll succeeded. It reports whether that was the first one from a
// new position, before which events may be missing.
func (s *positions) cameThrough(key string) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again = s.failing[key] < 0
	delete(s.failing, key)
	return again
}

// answersOtherwise reports whether the homeserver answers other requests of one of our users.
func (s *positions) answersOtherwise(ctx context.Context, user ids.MXUser) bool {
	err := s.whoami(ctx, user)
	return err == nil || !errors.Is(err, model.ErrUnavailable)
}
