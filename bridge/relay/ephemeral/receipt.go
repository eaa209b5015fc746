package ephemeral

import (
	"context"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	readEvery = 2 * time.Second
	// readWithin is how long after a message it is asked who has read it, less
	// and less often.
	readWithin = 30 * time.Minute
	// maxReaders bounds of how many people in a room it is asked.
	maxReaders = 20
	// maxAsked bounds of how many rooms it is asked at one time: Rocket.Chat has
	// more to do than to answer this.
	maxAsked = 5
)

// ReadOnMatrix handles a read receipt of a person on Matrix.
func (ev *Events) ReadOnMatrix(room ids.MXRoom, user ids.MXUser) {
	if live := ev.Live(); !live.Enabled || !live.Receipts || ev.Names.Owns(user) {
		return
	}
	ev.pending.put("read "+string(room)+" "+string(user), func(ctx context.Context) error {
		p, ok, err := ev.Store.PortalByMX(ctx, room)
		if err != nil || !ok {
			return err
		}
		puppet, ok, err := ev.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return model.Ignore(ev.RC.MarkRead(ctx, puppet, p.RCRoom), model.ErrNotFound)
	})
}

// ToBeRead notes that there is a new message from Matrix. Rocket.Chat tells
// nobody who has read what, so it has to be asked.
func (ev *Events) ToBeRead(p model.Portal, event ids.MXEvent) {
	if !ev.Live().Receipts {
		return
	}
	ev.pending.mu.Lock()
	defer ev.pending.mu.Unlock()
	if len(ev.pending.unread) >= maxPending {
		return
	}
	now := time.Now()
	ev.pending.unread[p.MXRoom] = &unread{portal: p, event: event, since: now, next: now.Add(readEvery)}
}

// lookWhoHasRead asks about the rooms whose time has come, and shows on Matrix
// who has read them.
func (ev *Events) lookWhoHasRead(ctx context.Context) {
	now := time.Now()
	ev.pending.mu.Lock()
	var due []*unread
	for room, u := range ev.pending.unread {
		switch {
		case now.Sub(u.since) > readWithin || !ev.Live().Receipts:
			delete(ev.pending.unread, room)
		case now.After(u.next) && len(due) < maxAsked:
			u.next = now.Add(max(readEvery, now.Sub(u.since)/4))
			due = append(due, u)
		}
	}
	ev.pending.mu.Unlock()
	for _, u := range due {
		ev.pending.put("unread "+string(u.portal.MXRoom), func(ctx context.Context) error { return ev.askWhoHasRead(ctx, u) })
	}
}

func (ev *Events) askWhoHasRead(ctx context.Context, u *unread) error {
	if u.people == nil {
		members, err := ev.RC.Members(ctx, u.portal)
		if err != nil {
			return err
		}
		for _, m := range members {
			if mine, err := ev.People.IsPuppet(ctx, m.ID); err != nil || mine || ev.RC.IsBridge(m.ID) || len(u.people) >= maxReaders {
				continue
			}
			u.people = append(u.people, m.ID)
		}
	}
	var left []ids.RCUser
	for _, who := range u.people {
		read, err := ev.RC.HasRead(ctx, u.portal, who)
		if err != nil {
			return err
		}
		if !read {
			left = append(left, who)
			continue
		}
		g, ok, err := ev.Store.GhostByRC(ctx, who)
		if err != nil {
			return err
		}
		if ok {
			if err := model.Ignore(ev.MX.MarkRead(ctx, u.portal.MXRoom, g.MXUser, u.event), model.ErrForbidden, model.ErrNotFound); err != nil {
				return err
			}
		}
	}
	ev.pending.mu.Lock()
	defer ev.pending.mu.Unlock()
	if u.people = left; len(left) == 0 && ev.pending.unread[u.portal.MXRoom] == u {
		delete(ev.pending.unread, u.portal.MXRoom)
	}
	return nil
}

// unread is the newest message from Matrix that a person has not read.
type unread struct {
	portal model.Portal
	event  ids.MXEvent
	since  time.Time
	next   time.Time
	people []ids.RCUser // who have not read it; nil until they are known
}
