package tomatrix

import (
	"context"
	"errors"
	"fmt"

	"appliance/bridge/config"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
)

// members relays who joins and leaves in Rocket.Chat.
type members struct {
	*base
	Store   memberStore
	RC      memberRocketChat
	MX      memberMatrix
	Live    func() config.Live
	Members *membership.Members
}

// deliver handles a membership change in Rocket.Chat.
func (h *members) deliver(ctx context.Context, item queue.Item, in event.RCMember) error {
	p, ok, err := h.portalOf(ctx, in.Message)
	if err != nil || !ok {
		return err
	}
	by := model.PersonOf(in.By)
	switch in.Change {
	case event.Joined:
		err = h.bringIn(ctx, p, by, by)
	case event.Left:
		err = h.Members.TakeOut(ctx, p, by.ID)
	case event.Added:
		err = h.added(ctx, p, by, in.Username)
	case event.Removed:
		err = h.removed(ctx, p, by, in, h.MX.Kick)
	case event.Banned:
		err = h.removed(ctx, p, by, in, h.MX.Ban)
	case event.Unbanned:
		err = h.removed(ctx, p, by, in, h.MX.Unban)
	case event.Unknown:
	}
	return model.Outcome(item, err, "the Matrix server refused it")
}

// added handles "by added username": a Rocket.Chat user joins on Matrix, and a puppet's
// person is invited there.
func (h *members) added(ctx context.Context, p model.Portal, by model.RCPerson, username string) error {
	puppet, isPuppet, err := h.Store.PuppetByUsername(ctx, username)
	if err != nil {
		return err
	}
	if isPuppet {
		if h.RC.IsBridge(by.ID) {
			return nil // our own doing
		}
		return h.addedPuppet(ctx, p, by, puppet)
	}
	who, ok, err := h.RC.UserByName(ctx, username)
	if err != nil || !ok {
		return err
	}
	return h.bringIn(ctx, p, by, who)
}

// bringIn makes the ghost of a new member join. If the room on Matrix does not let it in, the
// member stays in Rocket.Chat, and the person who did it is told.
func (h *members) bringIn(ctx context.Context, p model.Portal, by, who model.RCPerson) error {
	err := h.Joined.BringIn(ctx, p, who)
	var text string
	switch name := who.Display(); {
	case errors.Is(err, model.ErrBanned) && by.ID == who.ID:
		text = "You are banned from the room on Matrix: your messages are not carried there."
	case errors.Is(err, model.ErrBanned):
		text = fmt.Sprintf("%s is banned from the room on Matrix: messages of %s are not carried there.", name, name)
	case errors.Is(err, model.ErrNotAdmitted) && by.ID == who.ID:
		text = "You are not in the room on Matrix, because it does not let you in: your messages are not carried there."
	case errors.Is(err, model.ErrNotAdmitted):
		text = fmt.Sprintf("%s is not in the room on Matrix, because it does not let %s in: messages of %s are not carried there.", name, name, name)
	default:
		return err
	}
	if !h.RC.IsBridge(by.ID) {
		h.Notices.Person(ctx, by, text)
	}
	return nil
}

// addedPuppet invites the person of a puppet that was added to the room in Rocket.Chat.
// If that is refused, the puppet is removed and the person who added it is told.
func (h *members) addedPuppet(ctx context.Context, p model.Portal, by model.RCPerson, puppet model.Puppet) error {
	err := h.inviteAdded(ctx, p, by, puppet.MXUser)
	se, ok := errors.AsType[*model.SayError](err)
	if !ok {
		return err
	}
	if err := model.Ignore(h.RC.Remove(ctx, p, puppet.RCUser), model.ErrNotFound); err != nil {
		return err
	}
	return h.RC.Tell(ctx, by, "Sorry: "+se.Text+".")
}

func (h *members) inviteAdded(ctx context.Context, p model.Portal, by model.RCPerson, target ids.MXUser) error {
	if err := h.Admission.MayTalk(target); err != nil {
		return err
	}
	if may, err := h.Admission.Holds(ctx, h.Live().Permissions.Invite, by.ID, p); err != nil {
		return err
	} else if !may {
		return model.Say("the administrator does not let you invite people from Matrix")
	}
	g, err := h.People.Ghost(ctx, by)
	if err != nil {
		return err
	}
	if err := h.Joined.Ensure(ctx, p, g.MXUser); err != nil {
		return err
	}
	return h.Portals.Invite(ctx, p, g.MXUser, target)
}

// removed handles "by removed username", or banned, or unbanned, as the ghost of the
// person who did it or else as the reader of the portal.
func (h *members) removed(ctx context.Context, p model.Portal, by model.RCPerson, in event.RCMember, how func(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error) error {
	puppet, isPuppet, err := h.Store.PuppetByUsername(ctx, in.Username)
	if err != nil {
		return err
	}
	if !isPuppet {
		who, ok, err := h.RC.UserByName(ctx, in.Username)
		if err != nil || !ok {
			return err
		}
		return h.Members.TakeOut(ctx, p, who.ID)
	}
	if mine, err := h.People.IsPuppet(ctx, by.ID); err != nil || mine || h.RC.IsBridge(by.ID) {
		return err
	}
	g, err := h.People.Ghost(ctx, by)
	if err != nil {
		return err
	}
	err = how(ctx, p.MXRoom, g.MXUser, puppet.MXUser)
	if errors.Is(err, model.ErrForbidden) {
		err = how(ctx, p.MXRoom, p.Reader(h.Names), puppet.MXUser)
	}
	if !errors.Is(err, model.ErrForbidden) {
		return err
	}
	return h.notRemoved(ctx, p, by, puppet, in.Change)
}

// notRemoved handles a removal, ban or unban that the room on Matrix does not allow: a member
// who is still there is added again, so that both sides agree, and the person who did it is
// told. Homeservers also refuse to remove who has left meanwhile.
func (h *members) notRemoved(ctx context.Context, p model.Portal, by model.RCPerson, puppet model.Puppet, change event.MemberChange) error {
	is, err := model.MembershipOf(ctx, h.MX, p, h.Names, puppet.MXUser)
	switch {
	case err != nil:
		return err
	case change == event.Unbanned && is == "ban":
		h.Notices.Person(ctx, by, fmt.Sprintf("%s is still banned on Matrix: the room there does not allow you to lift the ban.", puppet.MXUser))
		return nil
	case change == event.Unbanned, is != "join" && is != "invite":
		return nil // as wanted
	}
	err = h.RC.Add(ctx, p, puppet.RCUser)
	if change == event.Banned && errors.Is(err, model.ErrRefused) {
		h.Notices.Person(ctx, by, fmt.Sprintf("%s is still in the room on Matrix, which does not allow you to ban people.", puppet.MXUser))
		return nil
	}
	if err != nil {
		return err
	}
	h.Notices.Person(ctx, by, fmt.Sprintf("%s is back in the room: the room on Matrix does not allow you to remove people.", puppet.MXUser))
	return nil
}
