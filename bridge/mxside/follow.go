package mxside

import (
	"context"
	"fmt"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
)

// What transactions lack (see Traits.PushesPart) the bridge reads through /sync. The bot
// is not in direct rooms, so these are read through the /sync of a ghost: all the time
// while people talk there, and now and then for every ghost.
const (
	followFor   = 10 * time.Minute // after somebody has said something
	maxFollowed = 64
	// sweepGap is between two ghosts of a sweep, sweepPause between two sweeps.
	sweepGap   = 2 * time.Second
	sweepPause = 10 * time.Minute
	sweepPage  = 200
)

// Follow implements relay.Matrix.
func (s *Side) Follow(ghost ids.MXUser) {
	if !s.traits.PushesPart || ghost == "" {
		return
	}
	s.followMu.Lock()
	defer s.followMu.Unlock()
	_, already := s.followed[ghost]
	if !already && len(s.followed) >= maxFollowed {
		return // the sweep comes by
	}
	s.followed[ghost] = time.Now().Add(followFor)
	if !already {
		s.follows <- ghost // as large as maxFollowed
	}
}

// followAll reads the ghosts that are to be followed until ctx ends.
func (s *Side) followAll(ctx context.Context, running *sync.WaitGroup) {
	for {
		select {
		case <-ctx.Done():
			return
		case ghost := <-s.follows:
			running.Go(func() { s.follow(ctx, ghost) })
		}
	}
}

// isFollowed reports whether a ghost is being read.
func (s *Side) isFollowed(ghost ids.MXUser) bool {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	_, ok := s.followed[ghost]
	return ok
}

// stillFollowed reports whether a ghost is to be read on, and forgets it when not.
func (s *Side) stillFollowed(ghost ids.MXUser) bool {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	if time.Now().Before(s.followed[ghost]) {
		return true
	}
	delete(s.followed, ghost)
	return false
}

// follow reads a ghost's rooms until nothing was said in them for a while.
func (s *Side) follow(ctx context.Context, ghost ids.MXUser) {
	patience, failures := time.Duration(0), 0
	for s.stillFollowed(ghost) && ctx.Err() == nil {
		if err := s.readGhost(ctx, ghost, patience); err != nil {
			patience = 0
			wait(ctx, min(maxPause, time.Second<<min(failures, 4)))
			failures++
			continue
		}
		patience, failures = pollTimeout, 0
	}
	s.forgetPosition(syncCursor + " " + string(ghost))
}

// readGhost makes one poll as a ghost and stores what it brings: what happened in
// the rooms that are read through it, and its invitations.
func (s *Side) readGhost(ctx context.Context, ghost ids.MXUser, wait time.Duration) error {
	key := syncCursor + " " + string(ghost)
	since, err := s.since(ctx, key)
	if err != nil {
		return err
	}
	ans, err := s.syncOnce(ctx, ghost, since, wait)
	if err != nil {
		return s.stuck(ctx, ghost, key, since, err)
	}
	again := s.goesOn(key)
	var items []queue.Item
	for room, r := range ans.Rooms.Join {
		p, ok, err := s.Store.PortalByMX(ctx, room)
		if err != nil {
			return err
		}
		if !ok || p.MXReader != ghost || since == "" && !again {
			continue
		}
		r.Timeline.Limited = r.Timeline.Limited || again
		s.signs(ctx, r.Ephemeral.Events, room)
		brought, err := s.timeline(ctx, room, ghost, r.Timeline)
		if err != nil {
			return err
		}
		items = append(items, brought...)
	}
	for id, inv := range invitations(ans, ghost) {
		items = append(items, relay.InvitationItem(id, inv))
	}
	if err := s.moved(ctx, key, ans.NextBatch, items); err != nil || wait == 0 {
		return err
	}
	s.rest(ctx, ans)
	return nil
}

// sweep reads every ghost once in a while until ctx ends.
func (s *Side) sweep(ctx context.Context) {
	after := ids.MXUser("")
	for {
		pause := sweepGap
		ghosts, err := s.Store.GhostsAfter(ctx, after, sweepPage)
		if err == nil && len(ghosts) == 0 {
			after, pause = "", sweepPause
		}
		if s.SweepPause > 0 {
			pause = s.SweepPause
		}
		for _, g := range ghosts {
			if err := s.readGhost(ctx, g.MXUser, 0); err != nil && ctx.Err() == nil {
				s.Log.Debug("a ghost could not be read", "ghost", g.MXUser, "err", err)
			}
			if !s.isFollowed(g.MXUser) {
				s.forgetPosition(syncCursor + " " + string(g.MXUser))
			}
			after = g.MXUser
			if !wait(ctx, pause) {
				return
			}
		}
		if !wait(ctx, pause) {
			return
		}
	}
}

// wait returns false when ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// invitationID names an invitation that comes without an event ID; accepting
// twice does no harm.
func invitationID(room ids.MXRoom, ghost ids.MXUser) string {
	return fmt.Sprintf("invitation %s %s %d", room, ghost, time.Now().Unix()/300)
}
