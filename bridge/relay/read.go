package relay

import (
	"context"
	"time"

	"appliance/bridge/ids"
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

// unread is the newest message from Matrix that somebody has not read.
type unread struct {
	portal Portal
	event  ids.MXEvent
	since  time.Time
	next   time.Time
	people []ids.RCUser // who have not read it; nil until they are known
}

// ReadOnMatrix takes that somebody has read up to an event on Matrix.
func (r *Relay) ReadOnMatrix(room ids.MXRoom, user ids.MXUser) {
	r.init()
	if live := r.Live(); !live.Enabled || !live.Receipts || r.Names.Owns(user) {
		return
	}
	r.signs.put("read "+string(room)+" "+string(user), func(ctx context.Context) error {
		p, ok, err := r.Store.PortalByMX(ctx, room)
		if err != nil || !ok {
			return err
		}
		puppet, ok, err := r.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return ignore(r.RC.MarkRead(ctx, puppet, p.RCRoom), ErrNotFound)
	})
}

// toBeRead notes that there is a new message from Matrix. Rocket.Chat tells
// nobody who has read what, so it has to be asked.
func (r *Relay) toBeRead(p Portal, event ids.MXEvent) {
	if !r.Live().Receipts {
		return
	}
	r.signs.mu.Lock()
	defer r.signs.mu.Unlock()
	if len(r.signs.unread) >= maxSigns {
		return
	}
	now := time.Now()
	r.signs.unread[p.MXRoom] = &unread{portal: p, event: event, since: now, next: now.Add(readEvery)}
}

// lookWhoHasRead asks about the rooms whose time has come, and shows on Matrix
// who has read them.
func (r *Relay) lookWhoHasRead(ctx context.Context) {
	now := time.Now()
	r.signs.mu.Lock()
	var due []*unread
	for room, u := range r.signs.unread {
		switch {
		case now.Sub(u.since) > readWithin || !r.Live().Receipts:
			delete(r.signs.unread, room)
		case now.After(u.next) && len(due) < maxAsked:
			u.next = now.Add(max(readEvery, now.Sub(u.since)/4))
			due = append(due, u)
		}
	}
	r.signs.mu.Unlock()
	for _, u := range due {
		r.signs.put("unread "+string(u.portal.MXRoom), func(ctx context.Context) error { return r.askWhoHasRead(ctx, u) })
	}
}

func (r *Relay) askWhoHasRead(ctx context.Context, u *unread) error {
	if u.people == nil {
		members, err := r.RC.Members(ctx, u.portal)
		if err != nil {
			return err
		}
		for _, m := range members {
			if mine, err := r.ours(ctx, m.ID); err != nil || mine || r.RC.IsBridge(m.ID) || len(u.people) >= maxReaders {
				continue
			}
			u.people = append(u.people, m.ID)
		}
	}
	var left []ids.RCUser
	for _, who := range u.people {
		read, err := r.RC.HasRead(ctx, u.portal, who)
		if err != nil {
			return err
		}
		if !read {
			left = append(left, who)
			continue
		}
		g, ok, err := r.Store.GhostByRC(ctx, who)
		if err != nil {
			return err
		}
		if ok {
			if err := ignore(r.MX.MarkRead(ctx, u.portal.MXRoom, g.MXUser, u.event), ErrForbidden, ErrNotFound); err != nil {
				return err
			}
		}
	}
	r.signs.mu.Lock()
	defer r.signs.mu.Unlock()
	if u.people = left; len(left) == 0 && r.signs.unread[u.portal.MXRoom] == u {
		delete(r.signs.unread, u.portal.MXRoom)
	}
	return nil
}
