package mxside

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// A room in which users of other servers spoke is read again once it has been quiet for
// a moment (see Traits.Rereads), and new events are taken then: out of order, but not
// lost. If they do not stop, it is read periodically.
const (
	gapEvery = time.Second
	gapPages = 5 // of a hundred events
	gapSlack = 2 * time.Minute
	// skippedAfter is how long a room must be quiet before skipped events are looked for. Events
	// that the homeserver has yet to push must not be taken ahead of those it pushes first.
	skippedAfter = time.Minute
	// A room that is not quiet is read every talkFor. Events talkSlack older than the
	// newest pushed one are taken: they would have been pushed before it.
	talkFor   = 5 * time.Minute
	talkSlack = 2 * time.Minute
)

// rereads reads rooms again for which the homeserver may have left out events in its
// pushes.
type rereads struct {
	*client
	versions *versions
	probes   *probes
	history  *history
	inbox    *inbox

	hurry time.Duration // replaces the times of Traits.Rereads; 0 keeps them

	mu   sync.Mutex
	gaps map[ids.MXRoom]*gap
}

// gap is a room from which events may be missing.
type gap struct {
	since time.Time // when people began to speak, or the time up to which the room was read
	begun time.Time // when they began to speak, or when the room was read while they did
	last  time.Time // when they spoke last
	looks int
	// returned: some of that was pushed shortly after an absence of the homeserver.
	returned bool
	newest   int64 // when a server made the newest event that was pushed, in ms
}

// A look describes one rereading of a room.
type look struct {
	since time.Time
	until int64 // in ms: events that servers made later are not taken; 0 takes all
	// skipped: also look for events that the homeserver has not accepted yet.
	skipped bool
}

// note records the rooms of events that came from other servers. returned means that the
// homeserver was away shortly before.
func (g *rereads) note(arrived []arrival, returned bool) {
	if len(g.traits.Rereads) == 0 {
		return
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range arrived {
		if a.event == nil || a.head.Sender.Homeserver() == g.names.Server {
			continue
		}
		room := a.head.Room
		if g.gaps[room] == nil {
			g.gaps[room] = &gap{since: now, begun: now}
		}
		missing := g.gaps[room]
		missing.last, missing.looks, missing.returned = now, 0, missing.returned || returned
		missing.newest = max(missing.newest, min(a.head.Time, now.UnixMilli())) // clocks of others may be ahead
	}
}

// run reads rooms again until ctx ends.
func (g *rereads) run(ctx context.Context) {
	for wait(ctx, gapEvery) {
		for room, l := range g.due() {
			read := g.readGap
			switch {
			case l.skipped:
				read = g.readSkipped
			case g.traits.HidesRedactions:
				read = g.readHidden
			}
			if err := read(ctx, room, l); err != nil && ctx.Err() == nil {
				g.log.Warn("a room could not be re-read", "mx_room", room, "err", err)
			}
		}
	}
}

// due returns the rooms to read now.
func (g *rereads) due() map[ids.MXRoom]look {
	g.mu.Lock()
	defer g.mu.Unlock()
	due, looks := map[ids.MXRoom]look{}, g.traits.Rereads
	for room, missing := range g.gaps {
		after := looks[missing.looks]
		if g.hurry > 0 {
			after = g.hurry
		}
		switch {
		case time.Since(missing.last) >= after:
			due[room] = look{since: missing.since, skipped: g.traits.SkipsInterrupted && missing.returned && looks[missing.looks] >= skippedAfter}
			if missing.looks++; missing.looks == len(looks) {
				delete(g.gaps, room)
			}
		case time.Since(missing.begun) >= talkFor:
			until := time.UnixMilli(missing.newest).Add(-talkSlack)
			due[room] = look{since: missing.since, until: until.UnixMilli(), skipped: g.traits.SkipsInterrupted && missing.returned}
			missing.since, missing.begun, missing.returned = until, time.Now(), false
		}
	}
	return due
}

// readHidden is readGap for Dendrite (0.15), which hides redactions by other software
// in rooms of version 11 and later: it looks for the redacted event at the place where
// earlier versions had it, and shows the redaction to nobody. But it knows the
// redaction, and when the next event of the room follows, Dendrite finds that something
// in between is missing, and fetches it from other servers for a user who reads at the
// beginning of the room. So an event that no client displays serves as that next one.
func (g *rereads) readHidden(ctx context.Context, room ids.MXRoom, l look) error {
	p, ok, err := g.inbox.store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return err
	}
	reader := p.ReadAs(g.bot())
	created, err := g.versions.Creation(ctx, room, reader)
	if err != nil || !created.HidesRedactions {
		return err
	}
	return g.readFilled(ctx, room, reader, l)
}

// readSkipped is readGap for a Dendrite (0.15) that was killed. It may reject an event
// that another server sends just afterwards, because it cannot work out the state of the
// room before it ("create event has different roomID"), and accepts it minutes later,
// without pushing it, when it requests it once more.
func (g *rereads) readSkipped(ctx context.Context, room ids.MXRoom, l look) error {
	p, ok, err := g.inbox.store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return err
	}
	return g.readFilled(ctx, room, p.ReadAs(g.bot()), l)
}

// readFilled makes the homeserver fetch what is missing in a room, and then does what readGap does.
func (g *rereads) readFilled(ctx context.Context, room ids.MXRoom, reader ids.MXUser, l look) error {
	if _, err := g.probes.send(ctx, room, reader, rand.Text()); err != nil {
		return err
	}
	if !g.history.nudge(ctx, room, reader) {
		return nil
	}
	l.since = l.since.Add(-gapSlack)
	return g.readGap(ctx, room, l)
}

// readGap stores the events of a room since a given time that were never accepted.
func (g *rereads) readGap(ctx context.Context, room ids.MXRoom, l look) error {
	p, ok, err := g.inbox.store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return err
	}
	reader := p.ReadAs(g.bot())
	since := l.since
	if p.Created.After(since.Add(-gapSlack)) {
		since = p.Created
	}
	var read []Read
	pages := 0
	err = g.history.backwards(ctx, room, reader, func(events []arrival) (bool, error) {
		pages++
		older := true
		for _, a := range events {
			if a.head.Time < since.UnixMilli() {
				continue
			}
			older = false
			if l.until != 0 && a.head.Time > l.until {
				continue
			}
			if it, ok := g.inbox.item(a); ok {
				read = append(read, Read{it, a.head.Sender, a.head.Time})
			}
		}
		return !older && pages < gapPages, nil
	})
	if err != nil {
		return err
	}
	found := itemsOf(read)
	known := make([]string, len(found))
	for i, it := range found {
		known[i] = it.ID
	}
	old, err := g.inbox.store.Known(ctx, known)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(it queue.Item) bool { return old[it.ID] })
	if len(found) == 0 {
		return nil
	}
	g.log.Warn("events that the homeserver did not push were found", "mx_room", room, "events", len(found))
	return g.inbox.accept(ctx, found, nil)
}
