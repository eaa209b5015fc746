package mxside

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

const (
	// echoesEvery is between two looks at our own events that came back, and how long one is
	// left alone: what the bridge has just sent is linked by then.
	echoesEvery = 5 * time.Second
	// maxEchoes bounds how many wait for a look. Those beyond are not looked at.
	maxEchoes = 10_000
)

// echoes looks at our own events that the homeserver shows. One that no link names may be a
// second copy: a homeserver that stops while it takes an event in may take it in again
// minutes later, when the bridge has long since sent the message once more. Dendrite does so
// after 5 minutes and 10 seconds (AckWait in its roomserver/internal/input). Whether it is one
// is decided in the lane of its room, where nothing of the room is under way meanwhile.
//
// Events that wait for a look are in memory only: a bridge that is killed within those
// seconds lets a second copy stand.
type echoes struct {
	*client
	store  Store
	accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error

	mu      sync.Mutex
	waiting []echo
}

// echo is an event of ours that came back.
type echo struct {
	event ids.MXEvent
	room  ids.MXRoom
	came  time.Time
}

// note takes the events of a transaction.
func (e *echoes) note(list []arrival) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range list {
		if len(e.waiting) < maxEchoes && e.names.Owns(a.head.Sender) && linksOne(a.event) {
			e.waiting = append(e.waiting, echo{a.head.ID, a.head.Room, time.Now()})
		}
	}
}

// linksOne reports whether an event of ours has a link once it was sent: a message or a
// reaction, and not a new version of a message.
func linksOne(e event.Event) bool {
	switch e := e.(type) {
	case event.MXWritten:
		return e.Event.Content.Source != "" && e.Event.Content.Replaces == ""
	case event.MXReacted:
		return true
	}
	return false
}

// run looks until ctx ends.
func (e *echoes) run(ctx context.Context) {
	tick := time.NewTicker(echoesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			due := e.due(now)
			if err := e.look(ctx, due); err != nil {
				e.log.Debug("our own events are compared with what was sent later", "err", err)
				e.later(due)
			}
		}
	}
}

// due returns the events that came some time ago, and forgets them.
func (e *echoes) due(now time.Time) []echo {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for n < len(e.waiting) && now.Sub(e.waiting[n].came) >= echoesEvery {
		n++
	}
	due := e.waiting[:n:n]
	if e.waiting = e.waiting[n:]; len(e.waiting) == 0 {
		e.waiting = nil
	}
	return due
}

// later takes events back that could not be looked at.
func (e *echoes) later(due []echo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = append(due, e.waiting...)
	e.waiting = e.waiting[:min(len(e.waiting), maxEchoes)]
}

// look makes items of the events that no link names.
func (e *echoes) look(ctx context.Context, due []echo) error {
	if len(due) == 0 {
		return nil
	}
	rooms, list := make(map[ids.MXEvent]ids.MXRoom, len(due)), make([]ids.MXEvent, len(due))
	for i, d := range due {
		rooms[d.event], list[i] = d.room, d.event
	}
	linked, err := e.store.EventsLinked(ctx, list)
	if err != nil {
		return err
	}
	var items []queue.Item
	for id, room := range rooms {
		if linked[id] {
			continue
		}
		p, ok, err := e.store.PortalByMX(ctx, room)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		item, err := event.Item("echo "+string(id), model.RCLane(p.RCRoom), event.RCEcho{Event: id})
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil
	}
	return e.accept(ctx, items, nil)
}
