package torocketchat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/roomstate"
)

// members relays who joins and leaves on Matrix.
type members struct {
	*base
	Store     memberStore
	RC        memberRocketChat
	Directs   *portal.Directs
	Newcomers *membership.Newcomers
}

// deliver handles a membership change on Matrix.
func (h *members) deliver(ctx context.Context, item queue.Item, e event.MXMember) error {
	p, ok, err := h.portalOf(ctx, e.Room)
	if err != nil || !ok {
		return err
	}
	user := e.User
	if h.Names.Owns(user) {
		return model.Outcome(item, h.ghostRemoved(ctx, p, user, e), "Rocket.Chat refused it")
	}
	switch e.Membership {
	case "join":
		h.Newcomers.Nudge(ctx, p)
		if !h.Admission.Allows(user) {
			return nil // allowed on Matrix, and not in Rocket.Chat
		}
		err = h.joined(ctx, p, user, e.Name)
		if changed, perr := h.portraitChanged(ctx, e); err == nil && perr == nil && changed {
			err = h.Accept(ctx, []queue.Item{model.MXPersonItem(user, item.ID)}, nil)
		}
	case "leave", "ban":
		puppet, known, perr := h.Store.PuppetByMX(ctx, user)
		if err = perr; err == nil && known && !p.IsDirect() {
			err = h.RC.Remove(ctx, p, puppet.RCUser)
		}
	}
	if errors.Is(err, model.ErrNotFound) {
		err = nil // not a member, or no such room: as wanted
	}
	return model.Outcome(item, err, "Rocket.Chat refused it")
}

// joined adds a person who has joined on Matrix to the Rocket.Chat room. Nobody can be
// added to a direct room: its people are told that there is another reader, and the
// conversation goes on as a group.
func (h *members) joined(ctx context.Context, p model.Portal, user ids.MXUser, name string) error {
	if !p.IsDirect() {
		puppet, err := h.People.Puppet(ctx, user, name)
		if err != nil {
			return err
		}
		return h.RC.Add(ctx, p, puppet.RCUser)
	}
	puppet, known, err := h.Store.PuppetByMX(ctx, user)
	if err != nil {
		return err
	}
	usernames, err := h.RC.Usernames(ctx, p.RCRoom)
	if err != nil {
		return err
	}
	if known && slices.Contains(usernames, puppet.Username) {
		_, err := h.People.Puppet(ctx, user, name)
		return err
	}
	if err := h.tellOfReader(ctx, p, user); err != nil {
		return err
	}
	if puppet, err = h.People.Puppet(ctx, user, name); err != nil {
		return err
	}
	if p, err = h.Portals.Widen(ctx, p, puppet.Username); err != nil || p.IsDirect() {
		return err
	}
	return h.RC.Add(ctx, p, puppet.RCUser)
}

// tellOfReader tells the Rocket.Chat users of a direct room that another person on Matrix
// can read it now.
func (h *members) tellOfReader(ctx context.Context, p model.Portal, user ids.MXUser) error {
	locals, _, err := h.Directs.WhoIsIn(ctx, p.RCRoom)
	if err != nil {
		return err
	}
	for _, who := range locals {
		if err := h.RC.Tell(ctx, who, fmt.Sprintf("%s joined your direct conversation with %s on Matrix and can read it from now on.", user, p.RCReader)); err != nil {
			return err
		}
	}
	return nil
}

// ghostRemoved handles the removal or ban of a ghost on Matrix: the user leaves the
// Rocket.Chat room too, and is told by whom. Messages that the user wrote just before may
// still be on their way and bring the ghost back, so the members are compared after them.
func (h *members) ghostRemoved(ctx context.Context, p model.Portal, ghost ids.MXUser, e event.MXMember) error {
	h.Joined.Forget(p.MXRoom, ghost)
	if e.Membership != "leave" && e.Membership != "ban" {
		return nil
	}
	if ghost == p.MXReader {
		var err error // who was removed may still list who was there then
		if p, _, err = h.Portals.HandOver(ctx, p); model.Ignore(err, model.ErrForbidden, model.ErrNotFound) != nil {
			return err
		}
	}
	if p.IsDirect() {
		return nil
	}
	switch unbanned, err := h.isUnbanned(ctx, p, ghost, e); {
	case err != nil:
		return err
	case unbanned: // who is in the room of Rocket.Chat, may come in now
		return h.Accept(ctx, []queue.Item{model.RCMembershipItem("unbanned "+string(e.ID), p.RCRoom)}, nil)
	}
	g, ok, err := h.Store.GhostByMX(ctx, ghost)
	if err != nil || !ok {
		return err
	}
	who, ok, err := h.RC.UserByID(ctx, g.RCUser)
	if err != nil || !ok {
		return err
	}
	info, _, err := h.RC.Room(ctx, p.RCRoom)
	if err != nil {
		return err
	}
	if err := h.RC.Remove(ctx, p, g.RCUser); err != nil {
		return model.Ignore(err, model.ErrNotFound) // was not there
	}
	verb := map[string]string{"leave": "removed", "ban": "banned"}[e.Membership]
	h.Notices.Person(ctx, who, fmt.Sprintf("%s %s you on Matrix from %s.", e.Sender, verb, roomstate.Label(info)))
	return h.Accept(ctx, []queue.Item{model.RCMembershipItem("after "+string(e.ID), p.RCRoom)}, nil)
}

// isUnbanned records bans, and reports whether an event ends one: then nobody leaves, and
// a user who was added again in Rocket.Chat meanwhile stays there. Not every homeserver
// includes the previous membership in the event.
func (h *members) isUnbanned(ctx context.Context, p model.Portal, ghost ids.MXUser, e event.MXMember) (bool, error) {
	name := "banned " + string(p.MXRoom) + " " + string(ghost)
	if e.Membership == "ban" {
		return false, h.Store.MoveCursor(ctx, name, string(e.ID))
	}
	banned, err := h.Store.Cursor(ctx, name)
	if err != nil || banned == "" {
		return false, err
	}
	return true, h.Store.MoveCursor(ctx, name, "")
}

// portraitChanged reports whether a member event shows a different picture from the
// one that was copied.
func (h *members) portraitChanged(ctx context.Context, e event.MXMember) (bool, error) {
	known, err := h.Store.Cursor(ctx, "avatar "+string(e.User))
	return known != e.Avatar, err
}
