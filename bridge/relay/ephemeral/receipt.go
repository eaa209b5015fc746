package ephemeral

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
)

const (
	readEvery = 2 * time.Second
	// readWithin is how long after a message the bridge polls for who has read it,
	// less and less often.
	readWithin = 30 * time.Minute
	// maxReaders bounds the people in a room that the bridge polls for.
	maxReaders = 20
	// maxAsked bounds the rooms that the bridge polls for at one time:
	// Rocket.Chat has other work.
	maxAsked = 5
)

// Receipts shows on one side what people have read on the other.
type Receipts struct {
	Store  receiptStore
	RC     receiptRocketChat
	MX     receiptMatrix
	Names  ids.Namespace
	Live   func() config.Live
	People *people.People

	calls *calls
	mu    sync.Mutex
	rooms map[ids.MXRoom]*unread
}

// ReadOnMatrix handles a read receipt of a person on Matrix.
func (re *Receipts) ReadOnMatrix(room ids.MXRoom, user ids.MXUser) {
	if live := re.Live(); !live.Enabled || !live.Receipts || re.Names.Owns(user) {
		return
	}
	re.calls.put("read "+string(room)+" "+string(user), func(ctx context.Context) error {
		p, ok, err := re.Store.PortalByMX(ctx, room)
		if err != nil || !ok {
			return err
		}
		puppet, ok, err := re.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return model.Ignore(re.RC.MarkRead(ctx, puppet, p.RCRoom), model.ErrNotFound)
	})
}

// ToBeRead records a new message from Matrix. Rocket.Chat sends no receipts, so the
// bridge polls for who has read it.
func (re *Receipts) ToBeRead(p model.Portal, event ids.MXEvent) {
	if !re.Live().Receipts {
		return
	}
	re.mu.Lock()
	defer re.mu.Unlock()
	if len(re.rooms) >= maxPending {
		return
	}
	now := time.Now()
	re.rooms[p.MXRoom] = &unread{portal: p, event: event, since: now, next: now.Add(readEvery)}
}

// lookWhoHasRead polls for the rooms that are due, and shows on Matrix who has read them.
func (re *Receipts) lookWhoHasRead(ctx context.Context) {
	now := time.Now()
	re.mu.Lock()
	var due []*unread
	for room, u := range re.rooms {
		switch {
		case now.Sub(u.since) > readWithin || !re.Live().Receipts:
			delete(re.rooms, room)
		case now.After(u.next) && len(due) < maxAsked:
			u.next = now.Add(max(readEvery, now.Sub(u.since)/4))
			due = append(due, u)
		}
	}
	re.mu.Unlock()
	for _, u := range due {
		re.calls.put("unread "+string(u.portal.MXRoom), func(ctx context.Context) error { return re.askWhoHasRead(ctx, u) })
	}
}

// askWhoHasRead polls for one message. It does nothing while an earlier call
// is still under way.
func (re *Receipts) askWhoHasRead(ctx context.Context, u *unread) error {
	if !u.asking.TryLock() {
		return nil
	}
	defer u.asking.Unlock()
	if u.people == nil {
		members, err := re.RC.Members(ctx, u.portal)
		if err != nil {
			return err
		}
		for _, m := range members {
			if mine, err := re.People.IsPuppet(ctx, m.ID); err != nil || mine || re.RC.IsBridge(m.ID) || len(u.people) >= maxReaders {
				continue
			}
			u.people = append(u.people, m.ID)
		}
	}
	var left []ids.RCUser
	for _, who := range u.people {
		read, err := re.RC.HasRead(ctx, u.portal, who)
		if err != nil {
			return err
		}
		if !read {
			left = append(left, who)
			continue
		}
		g, ok, err := re.Store.GhostByRC(ctx, who)
		if err != nil {
			return err
		}
		if ok {
			if err := model.Ignore(re.MX.MarkRead(ctx, u.portal.MXRoom, g.MXUser, u.event), model.ErrForbidden, model.ErrNotFound); err != nil {
				return err
			}
		}
	}
	re.mu.Lock()
	defer re.mu.Unlock()
	if u.people = left; len(left) == 0 && re.rooms[u.portal.MXRoom] == u {
		delete(re.rooms, u.portal.MXRoom)
	}
	return nil
}

// unread is the newest message from Matrix in a room that not everybody has read.
type unread struct {
	portal model.Portal
	event  ids.MXEvent
	since  time.Time
	next   time.Time

	asking sync.Mutex
	people []ids.RCUser // guarded by asking: who has not read it; nil until known
}
