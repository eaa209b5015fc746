package mxside

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// When another server sends more than Synapse can follow (a hundred waiting
// events of a room), Synapse drops what is in the middle, fetches it beside later,
// and never pushes it. So a room in which people of other servers spoke is read
// again when it has been quiet for a moment, and what is new there is taken then:
// out of order, but not lost.
const (
	gapEvery = time.Second
	gapPages = 5 // of a hundred events
	gapSlack = 2 * time.Minute
)

// gapLooks is how long after the last event a room is read again.
var gapLooks = []time.Duration{4 * time.Second, 20 * time.Second}

// gap is a room that may lack something.
type gap struct {
	since time.Time // when people began to speak
	last  time.Time // when they spoke last
	looks int
}

// mayHaveGaps notes the rooms of those items whose events came from other servers.
func (s *Side) mayHaveGaps(items []queue.Item) {
	if !s.pushesAll() {
		return
	}
	now := time.Now()
	s.followMu.Lock()
	defer s.followMu.Unlock()
	for _, it := range items {
		e, err := convert.ParseEvent(it.Payload)
		if err != nil || ids.MXUser(e.Sender).Homeserver() == s.Names.Server {
			continue
		}
		room := ids.MXRoom(e.Room)
		if s.gaps[room] == nil {
			s.gaps[room] = &gap{since: now}
		}
		s.gaps[room].last, s.gaps[room].looks = now, 0
	}
}

// lookForGaps reads rooms again until ctx ends.
func (s *Side) lookForGaps(ctx context.Context) {
	for wait(ctx, gapEvery) {
		for room, since := range s.dueGaps() {
			if err := s.readGap(ctx, room, since); err != nil && ctx.Err() == nil {
				s.Log.Warn("a room could not be read again", "mx_room", room, "err", err)
			}
		}
	}
}

func (s *Side) dueGaps() map[ids.MXRoom]time.Time {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	due := map[ids.MXRoom]time.Time{}
	for room, g := range s.gaps {
		if time.Since(g.last) < gapLooks[g.looks] {
			continue
		}
		due[room] = g.since
		if g.looks++; g.looks == len(gapLooks) {
			delete(s.gaps, room)
		}
	}
	return due
}

// readGap stores what is in a room since a time and was never accepted.
func (s *Side) readGap(ctx context.Context, room ids.MXRoom, since time.Time) error {
	p, ok, err := s.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return err
	}
	reader := p.ReadAs(s.Names.BotUser())
	if p.Created.After(since.Add(-gapSlack)) {
		since = p.Created
	}
	var found []queue.Item
	pages := 0
	err = s.backwards(ctx, room, reader, func(events []json.RawMessage) (bool, error) {
		pages++
		older := true
		for _, raw := range events {
			e, err := convert.ParseEvent(raw)
			if err != nil || e.Timestamp < since.UnixMilli() {
				continue
			}
			older = false
			if it, ok := s.item(raw, room); ok {
				found = append(found, it)
			}
		}
		return !older && pages < gapPages, nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(found)
	known := make([]string, len(found))
	for i, it := range found {
		known[i] = it.ID
	}
	old, err := s.Store.Known(ctx, known)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(it queue.Item) bool { return old[it.ID] })
	if len(found) == 0 {
		return nil
	}
	s.Log.Warn("the homeserver had left events out", "mx_room", room, "events", len(found))
	return s.Accept(ctx, found, nil)
}
