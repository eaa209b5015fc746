package portal

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/roomstate"
	"appliance/bridge/rocketchat"
)

const (
	// settleFor and settleGap bound the wait for a room whose items are still on their
	// way to Matrix.
	settleFor = 5 * time.Second
	settleGap = 100 * time.Millisecond
)

var (
	errUnseen    = &model.SayError{Text: "the bridge cannot see this room; add the user matrix-bridge to it and try again"}
	errEncrypted = &model.SayError{Text: "this room is encrypted, and the bridge cannot read it"}
)

// Open returns the portal of a room, created as needed. A new one begins with the
// items that first returns, if first is not nil. caller is the person who requested
// it, nil for the operator.
func (ps *Portals) Open(ctx context.Context, room ids.RCRoom, caller *model.RCPerson, first func(model.RCRoomInfo) ([]queue.Item, error)) (model.Portal, error) {
	p, ok, err := ps.Store.PortalByRC(ctx, room)
	if err != nil || ok {
		return p, err
	}
	info, ok, err := ps.RC.Room(ctx, room)
	switch {
	case err != nil:
		return model.Portal{}, err
	case !ok:
		return model.Portal{}, errUnseen
	case info.Encrypted:
		return model.Portal{}, errEncrypted
	case info.Type == rocketchat.Direct:
		return model.Portal{}, model.Say("nobody can be added to a direct message; use /federation dm")
	}
	p = model.Portal{RCRoom: info.ID, RCType: info.Type, Created: ps.now(), Title: info.Title}
	powers, err := ps.State.StartPowers(ctx, p)
	if err != nil {
		return model.Portal{}, err
	}
	var guests []ids.MXUser
	if caller != nil {
		g, err := ps.People.Ghost(ctx, *caller)
		if err != nil {
			return model.Portal{}, err
		}
		powers[g.MXUser] = max(powers[g.MXUser], model.PowerOf[model.Moderator]) // whoever bridges a room may invite and moderate
		guests = []ids.MXUser{g.MXUser}
	}
	p.MXRoom, err = ps.MX.CreateRoom(ctx, model.MXRoomSpec{
		Creator: ps.Names.BotUser(), RCRoom: info.ID, Title: info.Title, Topic: info.Topic, Site: ps.Site,
		Invite: guests, Powers: powers, Write: roomstate.WriteLevel(info),
		Past: info.Type == rocketchat.Channel || first != nil,
	})
	if err != nil {
		return model.Portal{}, fmt.Errorf("make a Matrix room: %w", err)
	}
	everybody := model.RCMembershipItem(string(p.MXRoom), p.RCRoom)
	items := []queue.Item{everybody}
	if first != nil {
		more, err := first(info)
		if err != nil {
			return model.Portal{}, err
		}
		items = append(items, more...)
	}
	if err := ps.start(ctx, p, items...); err != nil {
		return model.Portal{}, err
	}
	return p, ps.Store.MoveCursor(ctx, tightened(p), "1") // there is nothing to tighten
}

// start stores a portal and makes both sides read its rooms.
func (ps *Portals) start(ctx context.Context, p model.Portal, items ...queue.Item) error {
	if err := ps.Store.PutPortal(ctx, p, items, begin(p)); err != nil {
		return err
	}
	ps.Log.Info("a room is bridged", "rc_room", p.RCRoom, "mx_room", p.MXRoom, "type", p.RCType)
	ps.RC.Watch(p)
	ps.MX.Follow(p.MXReader)
	ps.Wake()
	return nil
}

// settle waits briefly until a lane has no undelivered items.
func (ps *Portals) settle(ctx context.Context, lane string) error {
	for deadline := time.Now().Add(settleFor); ; {
		n, err := ps.Store.Waiting(ctx, lane)
		if err != nil || n == 0 || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleGap):
		}
	}
}

// isFree returns a function that reports whether a room has no portal.
func (ps *Portals) isFree(ctx context.Context) func(ids.RCRoom) (bool, error) {
	return func(room ids.RCRoom) (bool, error) {
		_, used, err := ps.Store.PortalByRC(ctx, room)
		return !used, err
	}
}

// begin returns the cursors of a portal that starts now: older messages are not
// relayed.
func begin(p model.Portal) map[string]string {
	return map[string]string{model.RCCursor(p.RCRoom): strconv.FormatInt(p.Created.UnixMilli(), 10)}
}
