package portal

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
	"appliance/bridge/rocketchat"
)

// ErrNotYet: a room claims to replace the room of a portal, which does
// not confirm it yet.
var ErrNotYet = errors.New("the room that it replaces has not confirmed that yet")

// spaceType is the type of rooms that are lists of rooms.
const spaceType = "m.space"

// Arrivals creates the Rocket.Chat side of a Matrix room that a ghost has joined.
type Arrivals struct {
	Store    arrivalStore
	RC       arrivalRocketChat
	MX       arrivalMatrix
	Locks    *model.Locks
	Site     string
	Names    ids.Namespace
	Log      *slog.Logger
	Portals  *Portals
	People   *people.People
	Upgrades *Upgrades
	Joined   *people.Joined
}

// Enter adds a user to the Rocket.Chat side of a room that the user's
// ghost has just joined.
func (a *Arrivals) Enter(ctx context.Context, inv model.Invitation, who model.RCPerson) error {
	return a.Locks.Do("begin "+string(inv.Room), func() error { return a.enterAlone(ctx, inv, who) })
}

// enterAlone is Enter while the room is locked, so that no other portal begins in
// it or moves there.
func (a *Arrivals) enterAlone(ctx context.Context, inv model.Invitation, who model.RCPerson) error {
	p, ok, err := a.Store.PortalByMX(ctx, inv.Room)
	if err != nil {
		return err
	}
	if ok {
		if p, err = a.Portals.TakeOver(ctx, p, inv.Ghost); err != nil {
			return err
		}
		if p, err = a.Portals.Widen(ctx, p, who.Username); err != nil || p.IsDirect() {
			return err
		}
		return a.RC.Add(ctx, p, who.ID)
	}
	if moved, err := a.fits(ctx, inv, who); err != nil || moved {
		return err
	}
	p = model.Portal{MXRoom: inv.Room, MXReader: inv.Ghost, Created: a.Portals.now()}
	if inv.Direct {
		title, many, err := a.Portals.firstCompany(ctx, inv.Room, inv.Ghost)
		if err != nil {
			return err
		}
		if inv.Direct = !many; many {
			inv.Name = cmp.Or(inv.Name, title)
		}
	}
	if inv.Direct {
		puppet, err := a.People.Puppet(ctx, inv.Inviter, a.nameIn(ctx, inv.Room, inv.Ghost, inv.Inviter))
		if err != nil {
			return err
		}
		p.RCType, p.RCReader = rocketchat.Direct, inv.Inviter
		if p.RCRoom, err = a.RC.Direct(ctx, puppet, who); err != nil {
			return err
		}
		return a.Portals.start(ctx, p)
	}
	info, err := a.RC.CreateGroup(ctx, convert.Name(inv.Name, "matrix-"+who.Username), who, a.Portals.isFree(ctx))
	if err != nil {
		return err
	}
	p.RCRoom, p.RCType, p.Title = info.ID, info.Type, info.Title
	everybody := model.MXMembershipItem(string(p.MXRoom), p.MXRoom)
	return a.Portals.start(ctx, p, everybody)
}

// fits checks a room that a ghost has just joined. It leaves a room that cannot be
// bridged, with a reason, and moves a portal to a room that replaces its own.
func (a *Arrivals) fits(ctx context.Context, inv model.Invitation, who model.RCPerson) (moved bool, err error) {
	created, err := a.MX.Creation(ctx, inv.Room, inv.Ghost)
	if err != nil {
		return false, err
	}
	if created.Type == spaceType {
		return false, a.leaveRoom(ctx, inv, "This is a space, a list of rooms, which Rocket.Chat does not have: please invite people to its rooms one by one.")
	}
	p, replaces, sure, err := a.Upgrades.replaces(ctx, created, inv.Room)
	switch {
	case err != nil:
		return false, err
	case replaces:
		if err := a.Upgrades.move(ctx, p, inv.Room, inv.Ghost, inv.Server()); err != nil || p.IsDirect() {
			return true, err
		}
		return true, a.RC.Add(ctx, p, who.ID)
	case !sure && !inv.Insists:
		return false, ErrNotYet
	}
	twice, err := a.bridgedElsewhere(ctx, inv.Room, inv.Ghost)
	if err == nil && twice {
		err = a.leaveRoom(ctx, inv, "Another bridge already connects this room with this Rocket.Chat.")
	}
	return false, err
}

// bridgedElsewhere reports whether another bridge connects a Matrix room with this
// Rocket.Chat: two bridges would repeat each other's messages for ever.
func (a *Arrivals) bridgedElsewhere(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (bool, error) {
	found, err := a.MX.Bridges(ctx, room, reader)
	if err != nil {
		return false, model.Ignore(err, model.ErrForbidden, model.ErrNotFound)
	}
	for _, b := range found {
		if b.Protocol == "rocketchat" && b.Site == a.Site && !a.Names.Owns(b.Bot) {
			a.Log.Warn("another bridge connects a room with this Rocket.Chat", "mx_room", room, "mx_user", b.Bot, "rc_room", b.Channel)
			return true, nil
		}
	}
	return false, nil
}

// leaveRoom makes a ghost leave a room that cannot be bridged, with a reason. It then
// returns a *RoomError.
func (a *Arrivals) leaveRoom(ctx context.Context, inv model.Invitation, reason string) error {
	a.Joined.Forget(inv.Room, inv.Ghost)
	if err := model.Ignore(a.MX.Refuse(ctx, inv.Room, inv.Ghost, reason), model.ErrForbidden, model.ErrNotFound); err != nil {
		return err
	}
	return &RoomError{reason}
}

// nameIn returns the display name of a person in a room, "" when it is not known.
func (a *Arrivals) nameIn(ctx context.Context, room ids.MXRoom, reader, user ids.MXUser) string {
	members, err := a.MX.Members(ctx, room, reader)
	if err != nil {
		return ""
	}
	for _, m := range members {
		if m.User == user {
			return m.Name
		}
	}
	return ""
}

// A RoomError says why a room that was joined cannot be bridged and was left.
type RoomError struct{ reason string }

func (e *RoomError) Error() string { return e.reason }
