package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// newDirect makes a conversation of a direct room that somebody has opened in
// Rocket.Chat with people of Matrix: with one, or with several.
func (r *Relay) newDirect(ctx context.Context, item queue.Item) error {
	var d NewDirect
	if err := json.Unmarshal(item.Payload, &d); err != nil {
		return queue.Permanent("it could not be read", err)
	}
	if p, ok, err := r.Store.PortalByRC(ctx, d.Room); err != nil || ok && !begunBy(p, d) {
		return err
	}
	locals, puppets, err := r.whoIsIn(ctx, d.Room)
	if err != nil {
		return outcome(item, ignore(err, ErrNotFound, ErrForbidden), "")
	}
	if len(puppets) == 0 || len(locals) == 0 {
		return nil // among themselves
	}
	author := locals[0]
	for _, who := range locals {
		if who.ID == d.Author {
			author = who
		}
	}
	err = r.openDirect(ctx, d, author, locals, puppets)
	if se, ok := errors.AsType[*SayError](err); ok {
		if err := r.RC.Tell(ctx, author, "Sorry: "+se.Text+"."); err != nil {
			r.Log.Warn("somebody could not be told", "user", author.ID, "err", err)
		}
		return nil
	}
	return outcome(item, err, "")
}

// whoIsIn tells apart who is in a direct room.
func (r *Relay) whoIsIn(ctx context.Context, room ids.RCRoom) (locals []RCPerson, puppets []Puppet, err error) {
	usernames, err := r.RC.Usernames(ctx, room)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range usernames {
		puppet, ok, err := r.Store.PuppetByUsername(ctx, name)
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
		who, ok, err := r.RC.UserByName(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if !ok || r.RC.IsBridge(who.ID) {
			continue
		}
		if mine, err := r.ours(ctx, who.ID); err != nil {
			return nil, nil, err
		} else if !mine {
			locals = append(locals, who)
		}
	}
	return locals, puppets, nil
}

// openDirect makes the Matrix room for a direct room and invites its people. It is
// private to those in it; the bridge's own user is not among them.
func (r *Relay) openDirect(ctx context.Context, d NewDirect, author RCPerson, locals []RCPerson, puppets []Puppet) error {
	for _, p := range puppets {
		if err := r.mayTalk(p.MXUser); err != nil {
			return err
		}
	}
	if may, err := r.holds(ctx, r.Live().Permissions.Direct, author.ID, Portal{}); err != nil {
		return err
	} else if !may {
		return say("the administrator does not let you open direct messages with people on Matrix")
	}
	return r.alone("direct room "+string(d.Room), func() error {
		p, err := r.directPortal(ctx, d, author, puppets)
		if err != nil || !begunBy(p, d) {
			return err
		}
		err = r.inviteAll(ctx, p, p.MXReader, author, locals, puppets)
		if err == nil || errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return err // the room stays, and is gone on with
		}
		r.RC.Unwatch(p)
		if lerr := r.MX.Leave(ctx, p.MXRoom, p.MXReader); lerr != nil {
			r.Log.Warn("an unused Matrix room could not be left", "mx_room", p.MXRoom, "err", lerr)
		}
		return errors.Join(err, r.Store.DropPortal(ctx, p))
	})
}

// begunBy reports whether a portal is what a first word has made: an attempt that
// was interrupted goes on with it.
func begunBy(p Portal, d NewDirect) bool {
	return p.RCType == directRoom && p.Created.UnixMilli() == d.Since.UnixMilli()
}

// directPortal returns the portal of a direct room, made as needed. It is stored
// before anybody is invited: an invitation that comes back must find it, or the room
// would be bridged twice.
func (r *Relay) directPortal(ctx context.Context, d NewDirect, author RCPerson, puppets []Puppet) (Portal, error) {
	p, ok, err := r.Store.PortalByRC(ctx, d.Room)
	if err != nil || ok {
		return p, err
	}
	g, err := r.ghost(ctx, author)
	if err != nil {
		return p, err
	}
	room, err := r.MX.CreateRoom(ctx, MXRoomSpec{Creator: g.MXUser, Site: r.Site, Direct: true})
	if err != nil {
		return p, fmt.Errorf("make a Matrix room: %w", err)
	}
	p = Portal{RCRoom: d.Room, MXRoom: room, RCType: directRoom, RCReader: puppets[0].MXUser, MXReader: g.MXUser, Created: d.Since}
	r.joined.Store(string(room)+" "+string(g.MXUser), struct{}{})
	return p, r.start(ctx, p)
}

// inviteAll invites everybody into a new direct room. That somebody of several
// cannot be had is said and goes on without them.
func (r *Relay) inviteAll(ctx context.Context, p Portal, as ids.MXUser, author RCPerson, locals []RCPerson, puppets []Puppet) error {
	for _, who := range locals {
		if who.ID == author.ID {
			continue
		}
		if err := r.bringIn(ctx, p, who); err != nil {
			return err
		}
	}
	for _, puppet := range puppets {
		err := r.invite(ctx, p, as, puppet.MXUser)
		se, ok := errors.AsType[*SayError](err)
		switch {
		case err == nil:
		case !ok || len(puppets) == 1:
			return err
		default:
			if err := r.RC.Tell(ctx, author, "Sorry: "+se.Text+"."); err != nil {
				r.Log.Warn("somebody could not be told", "user", author.ID, "err", err)
			}
		}
	}
	return nil
}
