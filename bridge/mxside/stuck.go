package mxside

import (
	"context"
	"errors"
	"net/http"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
)

// maxStuck is how many polls in a row may fail before the position is given up.
const maxStuck = 3

// stuck takes a failed poll, and returns its error. One event can make every /sync from
// a position fail: Dendrite (0.15) answers 500 for ever once a room has an event that is
// nested nearly 10,000 levels deep. So after some failures of a homeserver that answers
// everything else, the poll begins from a new position, and the rooms are read back.
func (s *Side) stuck(ctx context.Context, user ids.MXUser, key, since string, err error) error {
	if since == "" || ctx.Err() != nil {
		return err
	}
	s.followMu.Lock()
	s.failing[key] = max(s.failing[key], 0) + 1
	often := s.failing[key] >= maxStuck
	s.followMu.Unlock()
	if !often || !s.answersOtherwise(ctx, user) {
		return err
	}
	if err := s.Store.MoveCursor(ctx, key, ""); err != nil {
		return err
	}
	s.Log.Error("the homeserver cannot show what is new; it is read from a new position", "mx_user", user, "failures", maxStuck, "err", err)
	s.followMu.Lock()
	defer s.followMu.Unlock()
	s.positions[key] = position{}
	s.failing[key] = -1
	return err
}

// goesOn notes that a poll came through. It reports whether that is the first one from
// a new position, before which something may be missing.
func (s *Side) goesOn(key string) (again bool) {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	again = s.failing[key] < 0
	delete(s.failing, key)
	return again
}

// answersOtherwise reports whether the homeserver knows one of our users just now: GET
// /account/whoami.
func (s *Side) answersOtherwise(ctx context.Context, user ids.MXUser) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(user)
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "account", "whoami"), nil, nil)
	return err == nil || !errors.Is(side(err), relay.ErrUnavailable)
}
