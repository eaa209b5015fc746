package mxside

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// A room in which people of other servers spoke is read again when it has been quiet for
// a moment (see Traits.Rereads), and what is new there is taken then: out of order, but
// not lost.
const (
	gapEvery = time.Second
	gapPages = 5 // of a hundred events
	gapSlack = 2 * time.Minute
)

// gap is a room that may lack something.
type gap struct {
	since time.Time // when people began to speak
	last  time.Time // when they spoke last
	looks int
}

// mayHaveGaps notes the rooms of those items whose events came from other servers.
func (s *Side) mayHaveGaps(items []queue.Item) {
	if len(s.traits.Rereads) == 0 {
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
			read := s.readGap
			if s.traits.HidesRedactions {
				read = s.readHidden
			}
			if err := read(ctx, room, since); err != nil && ctx.Err() == nil {
				s.Log.Warn("a room could not be read again", "mx_room", room, "err", err)
			}
		}
	}
}

func (s *Side) dueGaps() map[ids.MXRoom]time.Time {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	due, looks := map[ids.MXRoom]time.Time{}, s.traits.Rereads
	for room, g := range s.gaps {
		if time.Since(g.last) < looks[g.looks] {
			continue
		}
		due[room] = g.since
		if g.looks++; g.looks == len(looks) {
			delete(s.gaps, room)
		}
	}
	return due
}

// readHidden is readGap for Dendrite (0.15), which hides redactions of other software
// in rooms of version 11 and later: it looks for the event that is taken back at the
// place where earlier versions had it, and shows the redaction to nobody. But it does
// know it, and where the next event of the room follows, Dendrite finds that it lacks
// something between, and fetches it from the other servers for a user who reads at
// the beginning of the room. So an event that no client shows makes that next one.
func (s *Side) readHidden(ctx context.Context, room ids.MXRoom, since time.Time) error {
	p, ok, err := s.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return err
	}
	reader := p.ReadAs(s.Names.BotUser())
	created, err := s.Creation(ctx, room, reader)
	if err != nil || !created.HidesRedactions {
		return err
	}
	if _, err := s.sendCheckpoint(ctx, room, reader, rand.Text()); err != nil {
		return err
	}
	if !s.nudge(ctx, room, reader) {
		return nil
	}
	return s.readGap(ctx, room, since.Add(-gapSlack))
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
