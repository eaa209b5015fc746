package mxside

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

const (
	// holeSlack is how far before an accepted event one that was left out may be.
	holeSlack = 2 * time.Minute
	// joinSlack is how long before a portal is stored one of our users may have joined.
	joinSlack = 5 * time.Minute
	// showFor is how long a homeserver may take to show what it has pushed.
	showFor = 3 * time.Second
	showGap = 50 * time.Millisecond
)

// replay reads rooms again, so that events that were left out or come late are
// stored in the room's own order.
type replay struct {
	*client
	contact *contact
	history *history
	inbox   *inbox
	one     sync.Mutex // one room is read at a time
}

// timeline returns the items of a room from a /sync, and those that the /sync may lack.
func (r *replay) timeline(ctx context.Context, room ids.MXRoom, reader ids.MXUser, t timeline) ([]queue.Item, error) {
	items := r.inbox.items(arrivals(r.log, t.Events, room))
	if !t.Limited && !r.contact.doubted(ctx) {
		return items, nil
	}
	missed, err := r.missed(ctx, room, reader, items, t.Limited)
	return append(missed, items...), err
}

// recover stores, in the room's own order, the events that a transaction may have
// overtaken.
func (r *replay) recover(ctx context.Context, arrived []arrival) error {
	byRoom := map[ids.MXRoom][]queue.Item{}
	for _, a := range arrived {
		if it, ok := r.inbox.item(a); ok && it.Kind != event.KindMXInvite {
			byRoom[a.head.Room] = append(byRoom[a.head.Room], it)
		}
	}
	for room, pushed := range byRoom {
		p, ok, err := r.inbox.store.PortalByMX(ctx, room)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		reader := p.ReadAs(r.bot())
		missed, err := r.missed(ctx, room, reader, pushed, false)
		if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrNotFound) {
			continue // none of our users is in the room any more
		}
		if err != nil {
			return err
		}
		if len(missed) > 0 {
			if err := r.inbox.accept(ctx, missed, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// missed returns what has happened in a room up to the given items and was never accepted, oldest
// first. It includes those of the items that the room shows further back: the homeserver learnt of
// them late, and pushes them before other new events. It waits briefly until the homeserver shows
// the newest item: only then can the events missing before it be requested.
func (r *replay) missed(ctx context.Context, room ids.MXRoom, reader ids.MXUser, items []queue.Item, limited bool) ([]queue.Item, error) {
	r.one.Lock()
	defer r.one.Unlock()
	p, ok, err := r.inbox.store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return nil, err
	}
	newest, err := r.newestUnknown(ctx, items)
	if err != nil || newest == "" && !limited {
		return nil, err
	}
	for deadline := time.Now().Add(showFor); ; {
		found, late, shown, err := r.readBack(ctx, p, reader, newest)
		if err != nil {
			return nil, err
		}
		if shown && r.traits.SkipsInterrupted && r.contact.mayNudge(room) && r.history.nudge(ctx, room, reader) {
			found, late, _, err = r.readBack(ctx, p, reader, newest)
			return WithLate(found, items, late), err
		}
		if shown || newest == "" || time.Now().After(deadline) || !wait(ctx, showGap) {
			return WithLate(found, items, late), ctx.Err()
		}
	}
}

// newestUnknown returns the last of the items that was never accepted, or "" if there is none.
func (r *replay) newestUnknown(ctx context.Context, items []queue.Item) (string, error) {
	all := make([]string, len(items))
	for i, it := range items {
		all[i] = it.ID
	}
	known, err := r.inbox.store.Known(ctx, all)
	if err != nil {
		return "", err
	}
	for _, id := range slices.Backward(all) {
		if !known[id] {
			return id, nil
		}
	}
	return "", nil
}

// readBack returns what has happened in a room since the newest event ever accepted from
// it, and what was left out shortly before that, oldest first, with each sender's events
// in the sender's own order. late has the IDs of events further back that were never
// accepted; shown reports whether newest was read.
func (r *replay) readBack(ctx context.Context, p model.Portal, reader ids.MXUser, newest string) (found []queue.Item, late map[string]bool, shown bool, err error) {
	oldest := p.Created.Add(-time.Hour).UnixMilli() // nothing older is taken; clocks differ a little
	var fresh []Read
	late = map[string]bool{}
	err = r.history.backwards(ctx, p.MXRoom, reader, func(events []arrival) (bool, error) {
		var batch []Read
		var batchIDs []string
		more, visible := true, -1
		for _, a := range events {
			shown = shown || string(a.head.ID) == newest
			if m, ok := a.event.(event.MXMember); ok && m.User == reader && m.Membership == "join" && joined(p, m.Time) {
				visible = len(batch) // messages from before we joined are not ours to carry
			}
			if it, ok := r.inbox.item(a); ok {
				batch, batchIDs = append(batch, Read{it, a.head.Sender, a.head.Time}), append(batchIDs, it.ID)
			}
		}
		known, err := r.inbox.store.Known(ctx, batchIDs)
		if err != nil {
			return false, err
		}
		for i, b := range batch {
			switch {
			case i == visible:
				return false, nil
			case known[b.Item.ID]:
				if more { // the newest one that is known
					more = false
					oldest = max(p.Created.UnixMilli(), b.At-holeSlack.Milliseconds())
				}
			case b.At >= oldest:
				fresh = append(fresh, b)
			case more:
				return false, nil // long before the portal
			default:
				late[b.Item.ID] = true
			}
		}
		return more && visible < 0, nil
	})
	return itemsOf(fresh), late, shown, err
}

// joined reports whether a membership from that time may be the one with which the
// portal began: we join first, and then the portal is stored. A later one is a
// change of a name.
func joined(p model.Portal, at int64) bool {
	before := p.Created.Sub(time.UnixMilli(at))
	return before > -time.Second && before < joinSlack
}
