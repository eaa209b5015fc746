package portal

import (
	"context"
	"fmt"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Backfill opens portals together with the history of their rooms.
type Backfill struct {
	Store   backfillStore
	RC      backfillRocketChat
	Locks   *model.Locks
	Portals *Portals
	Accept  model.Accept
}

// Open bridges the caller's room and carries its earlier messages: the last ones, or
// those since a time, or both. Everything is stored before Open returns, in one
// transaction with the portal. It is carried in its original order, before anything new,
// and keeps its timestamps on Matrix. n is the number of items stored. A room that is
// already bridged gets no backfill: it would appear after the messages relayed since. A
// caller without an ID is the operator, who need not be in the room.
func (b *Backfill) Open(ctx context.Context, caller model.Caller, last int, since time.Time) (n int, err error) {
	if last <= 0 || last > model.MaxHistory {
		last = model.MaxHistory
	}
	err = b.Locks.Do("room "+string(caller.Room), func() error {
		if _, ok, err := b.Store.PortalByRC(ctx, caller.Room); err != nil {
			return err
		} else if ok {
			return model.Say("this room is already connected with Matrix; its history can be carried over only when the connection is made")
		}
		by := &caller.RCPerson
		if by.ID == "" {
			by = nil
		}
		p, err := b.Portals.Open(ctx, caller.Room, by, func(info model.RCRoomInfo) ([]queue.Item, error) {
			items, err := b.RC.History(ctx, info, last, since)
			n = len(items)
			return items, err
		})
		if err != nil || n == 0 {
			return err
		}
		// Ghosts of former members rejoined to send their messages, and leave now.
		leave := model.RCMembershipItem("after history "+string(p.MXRoom), p.RCRoom)
		return b.Accept(ctx, []queue.Item{leave}, nil)
	})
	return n, err
}

// inviteLater queues an invitation behind the items waiting for the room.
func (b *Backfill) inviteLater(ctx context.Context, caller model.Caller, p model.Portal, target ids.MXUser) error {
	id := fmt.Sprintf("invite %s %s %d", p.MXRoom, target, time.Now().UnixMilli())
	item, err := event.Item(id, model.RCLane(p.RCRoom), event.RCInvite{Caller: event.Caller(caller.RCPerson), Target: target, Room: p.RCRoom})
	if err != nil {
		return err
	}
	return b.Accept(ctx, []queue.Item{item}, nil)
}
