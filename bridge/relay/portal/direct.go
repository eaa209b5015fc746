package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"appliance/bridge/config"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/rocketchat"
)

// Directs opens direct conversations.
type Directs struct {
	Store     directStore
	RC        directRocketChat
	MX        directMatrix
	People    *people.People
	Site      string
	Joined    *people.Joined
	Portals   *Portals
	Notices   *notice.Notices
	Log       *slog.Logger
	Admission *people.Admission
	Live      func() config.Live
	Locks     *model.Locks
}

// Open opens a direct conversation of the caller with a Matrix user.
func (ds *Directs) Open(ctx context.Context, caller model.RCPerson, target ids.MXUser) error {
	if err := ds.Admission.MayTalk(target); err != nil {
		return err
	}
	return ds.Locks.Do("direct "+string(caller.ID)+" "+string(target), func() error { return ds.open(ctx, caller, target) })
}

func (ds *Directs) open(ctx context.Context, caller model.RCPerson, target ids.MXUser) error {
	g, err := ds.People.Ghost(ctx, caller)
	if err != nil {
		return err
	}
	// The account is created only after the invitation was sent, so that a mistyped
	// address leaves nothing behind.
	if puppet, ok, err := ds.Store.PuppetByMX(ctx, target); err != nil {
		return err
	} else if ok {
		room, err := ds.RC.Direct(ctx, puppet, caller)
		if err != nil {
			return err
		}
		if p, ok, err := ds.Store.PortalByRC(ctx, room); err != nil {
			return err
		} else if ok {
			return ds.Portals.Invite(ctx, p, g.MXUser, target)
		}
	}
	room, err := ds.MX.CreateRoom(ctx, model.MXRoomSpec{Creator: g.MXUser, Site: ds.Site, Direct: true})
	if err != nil {
		return fmt.Errorf("make a Matrix room: %w", err)
	}
	p := model.Portal{MXRoom: room, RCType: rocketchat.Direct, RCReader: target, MXReader: g.MXUser, Created: ds.Portals.now()}
	if err := ds.Portals.Invite(ctx, p, g.MXUser, target); err != nil {
		if lerr := ds.MX.Leave(ctx, room, g.MXUser); lerr != nil {
			ds.Log.Warn("an unused Matrix room could not be left", "mx_room", room, "err", lerr)
		}
		return err
	}
	puppet, err := ds.People.Puppet(ctx, target, "")
	if err != nil {
		return err
	}
	if p.RCRoom, err = ds.RC.Direct(ctx, puppet, caller); err != nil {
		return err
	}
	ds.Joined.Note(p.MXRoom, g.MXUser)
	return ds.Portals.start(ctx, p)
}

// Begin creates the Matrix room for a direct room and invites its people. It is private
// to them; the bridge's own user is not in it.
func (ds *Directs) Begin(ctx context.Context, d event.RCDirect, author model.RCPerson, locals []model.RCPerson, puppets []model.Puppet) error {
	for _, p := range puppets {
		if err := ds.Admission.MayTalk(p.MXUser); err != nil {
			return err
		}
	}
	if may, err := ds.Admission.Holds(ctx, ds.Live().Permissions.Direct, author.ID, model.Portal{}); err != nil {
		return err
	} else if !may {
		return model.Say("the administrator does not let you open direct messages with people on Matrix")
	}
	return ds.Locks.Do("direct room "+string(d.Room), func() error {
		p, err := ds.directPortal(ctx, d, author, puppets)
		if err != nil || !BegunBy(p, d) {
			return err
		}
		err = ds.inviteAll(ctx, p, p.MXReader, author, locals, puppets)
		if err == nil || errors.Is(err, model.ErrUnavailable) || ctx.Err() != nil {
			return err // the next attempt continues with the room
		}
		ds.RC.Unwatch(p)
		if lerr := ds.MX.Leave(ctx, p.MXRoom, p.MXReader); lerr != nil {
			ds.Log.Warn("an unused Matrix room could not be left", "mx_room", p.MXRoom, "err", lerr)
		}
		return errors.Join(err, ds.Store.DropPortal(ctx, p))
	})
}

// directPortal returns the portal of a direct room, created as needed. It is stored
// before anybody is invited: an invitation that comes back must find it, or the room
// would be bridged twice.
func (ds *Directs) directPortal(ctx context.Context, d event.RCDirect, author model.RCPerson, puppets []model.Puppet) (model.Portal, error) {
	p, ok, err := ds.Store.PortalByRC(ctx, d.Room)
	if err != nil || ok {
		return p, err
	}
	g, err := ds.People.Ghost(ctx, author)
	if err != nil {
		return p, err
	}
	room, err := ds.MX.CreateRoom(ctx, model.MXRoomSpec{Creator: g.MXUser, Site: ds.Site, Direct: true})
	if err != nil {
		return p, fmt.Errorf("make a Matrix room: %w", err)
	}
	p = model.Portal{RCRoom: d.Room, MXRoom: room, RCType: rocketchat.Direct, RCReader: puppets[0].MXUser, MXReader: g.MXUser, Created: d.Since}
	ds.Joined.Note(room, g.MXUser)
	return p, ds.Portals.start(ctx, p)
}

// inviteAll invites everybody to a new direct room. If one of several people cannot be
// invited, the author is told and the room goes on without them.
func (ds *Directs) inviteAll(ctx context.Context, p model.Portal, as ids.MXUser, author model.RCPerson, locals []model.RCPerson, puppets []model.Puppet) error {
	for _, who := range locals {
		if who.ID == author.ID {
			continue
		}
		if err := ds.Joined.BringIn(ctx, p, who); err != nil {
			return err
		}
	}
	for _, puppet := range puppets {
		err := ds.Portals.Invite(ctx, p, as, puppet.MXUser)
		se, ok := errors.AsType[*model.SayError](err)
		switch {
		case err == nil:
		case !ok || len(puppets) == 1:
			return err
		default:
			ds.Notices.Sorry(ctx, author, se)
		}
	}
	return nil
}

// WhoIsIn returns the users and the puppets of a direct room.
func (ds *Directs) WhoIsIn(ctx context.Context, room ids.RCRoom) (locals []model.RCPerson, puppets []model.Puppet, err error) {
	usernames, err := ds.RC.Usernames(ctx, room)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range usernames {
		puppet, ok, err := ds.Store.PuppetByUsername(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			puppets = append(puppets, puppet)
		}
	}
	if len(puppets) == 0 {
		return nil, nil, nil
	}
	for _, name := range usernames {
		who, ok, err := ds.RC.UserByName(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if !ok || ds.RC.IsBridge(who.ID) {
			continue
		}
		if mine, err := ds.People.IsPuppet(ctx, who.ID); err != nil {
			return nil, nil, err
		} else if !mine {
			locals = append(locals, who)
		}
	}
	return locals, puppets, nil
}

// BegunBy reports whether a portal was opened for a first message: a retry after an
// interruption continues with it.
func BegunBy(p model.Portal, d event.RCDirect) bool {
	return p.IsDirect() && p.Created.UnixMilli() == d.Since.UnixMilli()
}
