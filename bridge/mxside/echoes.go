package mxside

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

const (
	// echoesEvery is the interval between two checks of our own events that came back, and
	// the time before one is checked: by then, whatever the bridge has just sent is linked.
	echoesEvery = 5 * time.Second
	// maxEchoes bounds how many wait for a check. Any beyond that are not checked.
	maxEchoes = 10_000
	// lateAfter is how long after its creation an event of ours must arrive to be a
	// possible second copy of one that is already linked.
	lateAfter = time.Minute
)

// echoes checks our own events that the homeserver shows. One without a link may be a second
// copy: a homeserver that stops while processing an event may process it again minutes later,
// long after the bridge has sent the message once more. Dendrite does so after 5 minutes and
// 10 seconds (AckWait in its roomserver/internal/input). Whether it is a copy is decided in
// the lane of its room, where nothing else of that room is in progress meanwhile.
//
// Events that wait for a check are in memory only. One that arrives minutes after it was sent
// is therefore checked before its transaction is acknowledged (late).
type echoes struct {
	*client
	store  Store
	accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error

	mu      sync.Mutex
	waiting []echo
}

// echo is one of our own events that came back.
type echo struct {
	event   ids.MXEvent
	room    ids.MXRoom
	message ids.RCMessage // the message that it was sent for; "" for a reaction
	made    int64         // when it was made, in ms
	came    time.Time
}

// ours returns those of our own events in a transaction that get a link once they are sent.
func (e *echoes) ours(list []arrival) (all []echo) {
	for _, a := range list {
		if e.names.Owns(a.head.Sender) && linksOne(a.event) {
			all = append(all, echo{a.head.ID, a.head.Room, messageOf(a.event), a.head.Time, time.Now()})
		}
	}
	return all
}

// note schedules events for a check a few seconds later.
func (e *echoes) note(ours []echo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = append(e.waiting, ours[:min(len(ours), max(0, maxEchoes-len(e.waiting)))]...)
}

// linksOne reports whether an event of ours gets a link once it is sent: a message or a
// reaction, but not a new version of a message.
func linksOne(e event.Event) bool {
	switch e := e.(type) {
	case event.MXWritten:
		return e.Event.Content.Source != "" && e.Event.Content.Replaces == ""
	case event.MXReacted:
		return true
	}
	return false
}

// run checks events until ctx ends.
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
				e.log.Debug("our own events will be compared with what was sent later", "err", err)
				e.later(due)
			}
		}
	}
}

// due returns the events that have waited long enough, and forgets them.
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

// later puts back events that could not be checked.
func (e *echoes) later(due []echo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = append(due, e.waiting...)
	e.waiting = e.waiting[:min(len(e.waiting), maxEchoes)]
}

// late returns items for the events of a transaction that came late, have no link, and whose
// message is linked to another event: those of a backlog come late too, but are linked in a
// moment. For a reaction, that last check is left to the consumer of the item.
func (e *echoes) late(ctx context.Context, ours []echo) ([]queue.Item, error) {
	old := time.Now().Add(-lateAfter).UnixMilli()
	came := slices.DeleteFunc(slices.Clone(ours), func(o echo) bool { return o.made > old })
	unlinked, err := e.unlinked(ctx, came)
	if err != nil {
		return nil, err
	}
	var copies []echo
	for _, u := range unlinked {
		if u.message != "" {
			if linked, err := e.store.EventLinked(ctx, u.message); err != nil {
				return nil, err
			} else if !linked {
				continue
			}
		}
		copies = append(copies, u)
	}
	// An event whose link was stored between the two queries is not a copy.
	copies, err = e.unlinked(ctx, copies)
	if err != nil {
		return nil, err
	}
	return e.items(ctx, copies)
}

// messageOf returns the message that one of our events was sent for, "" for a reaction.
func messageOf(e event.Event) ids.RCMessage {
	written, _ := e.(event.MXWritten)
	message, _, _ := strings.Cut(written.Event.Content.Source, "#") // parts have a suffix
	return ids.RCMessage(message)
}

// look stores items for the events without a link.
func (e *echoes) look(ctx context.Context, due []echo) error {
	unlinked, err := e.unlinked(ctx, due)
	if err != nil {
		return err
	}
	items, err := e.items(ctx, unlinked)
	if err != nil || len(items) == 0 {
		return err
	}
	return e.accept(ctx, items, nil)
}

// unlinked returns the events without a link.
func (e *echoes) unlinked(ctx context.Context, list []echo) ([]echo, error) {
	if len(list) == 0 {
		return nil, nil
	}
	events := make([]ids.MXEvent, len(list))
	for i, one := range list {
		events[i] = one.event
	}
	linked, err := e.store.EventsLinked(ctx, events)
	return slices.DeleteFunc(slices.Clone(list), func(one echo) bool { return linked[one.event] }), err
}

// items returns the items for events, in the lanes of their rooms.
func (e *echoes) items(ctx context.Context, list []echo) ([]queue.Item, error) {
	var items []queue.Item
	for _, one := range list {
		p, ok, err := e.store.PortalByMX(ctx, one.room)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		item, err := event.Item("echo "+string(one.event), model.RCLane(p.RCRoom), event.RCEcho{Event: one.event})
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}
