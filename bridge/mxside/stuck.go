package mxside

import (
	"context"
	"errors"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
)

// maxStuck is how many polls in a row may fail before the position is given up.
const maxStuck = 3

// stuck takes a failed poll, and returns its error. One event can make every /sync from
// a position fail: Dendrite (0.15) answers 500 from then on once a room has an event that is
// nested nearly 10,000 levels deep. So after some failures of a homeserver that answers
// everything else, the poll begins from a new position, and the rooms are read back.
func (s *syncer) stuck(ctx context.Context, user ids.MXUser, key, since string, err error) error {
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
	s.log.Error("the homeserver cannot show what is new; it is read from a new position", "mx_user", user, "failures", maxStuck, "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.positions[key] = position{}
	s.failing[key] = -1
	return err
}

// goesOn notes that a poll came through. It reports whether that is the first one from
// a new position, before which something may be missing.
func (s *syncer) goesOn(key string) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again = s.failing[key] < 0
	delete(s.failing, key)
	return again
}

// answersOtherwise reports whether the homeserver knows one of our users just now.
func (s *syncer) answersOtherwise(ctx context.Context, user ids.MXUser) bool {
	err := s.whoami(ctx, user)
	return err == nil || !errors.Is(err, relay.ErrUnavailable)
}
