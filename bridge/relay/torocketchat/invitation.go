package torocketchat

import (
	"context"
	"errors"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
)

// Reasons for declining an invitation, shown to the inviter.
const (
	notAllowed     = "The administrator of this Rocket.Chat does not allow conversations with you."
	mayNotInvite   = "The administrator of this Rocket.Chat does not let you invite people to this room."
	tooManyInvites = "Too many invitations came today; try again tomorrow."
)

// declineAfter is how long an invitation stands before it is declined. The invited server
// sees it before the inviting one has stored it, and Dendrite (0.15) forgets an
// invitation whose rejection the other server does not accept.
const declineAfter = 2 * time.Second

// notYetTries is how often a room with ErrNotYet is checked, a second apart.
const notYetTries = 12

// invitations accepts and declines the invitations of ghosts.
type invitations struct {
	*base
	Store    invitationStore
	MX       invitationMatrix
	Live     func() config.Live
	Arrivals *portal.Arrivals
}

// deliver makes a ghost join a Matrix room that its user was invited to, and creates the
// Rocket.Chat side of the room.
func (h *invitations) deliver(ctx context.Context, item queue.Item, in event.MXInvited) error {
	inv := model.Invitation{MXInvited: in}
	switch {
	case h.Names.Owns(inv.Inviter):
		return nil // our own doing: the inviter also makes the ghost join
	case item.Attempts == 0 && h.alreadyIn(ctx, inv):
		return nil // a hint and the homeserver reported the same invitation
	case !h.Admission.Allows(inv.Inviter):
		return h.decline(ctx, item, inv, notAllowed)
	case !h.Admission.AdmitInvitation(item, inv):
		return h.decline(ctx, item, inv, tooManyInvites)
	}
	who, ok, err := h.People.Person(ctx, inv.Ghost)
	if err != nil {
		return model.Outcome(item, err, "")
	}
	if !ok {
		return model.Outcome(item, model.Ignore(h.MX.Leave(ctx, inv.Room, inv.Ghost), model.ErrForbidden, model.ErrNotFound), "")
	}
	if may, err := h.mayLetIn(ctx, inv); err != nil || !may {
		if err == nil {
			return h.decline(ctx, item, inv, mayNotInvite)
		}
		return model.Outcome(item, err, "")
	}
	if _, err := h.MX.Join(ctx, inv.Room, inv.Ghost, ""); err != nil {
		return model.Outcome(item, err, "")
	}
	h.Joined.Note(inv.Room, inv.Ghost)
	inv.Insists = item.Attempts >= notYetTries
	if err := h.Arrivals.Enter(ctx, inv, who); err != nil {
		if errors.Is(err, portal.ErrNotYet) {
			return queue.Later(time.Second, err)
		}
		if _, refused := errors.AsType[*portal.RoomError](err); refused {
			h.Log.Info("a room that cannot be bridged was left", "mx_room", inv.Room, "reason", err)
			return nil
		}
		return model.Outcome(item, err, "Rocket.Chat refused it")
	}
	return model.Outcome(item, h.lookForEncryption(ctx, inv), "")
}

// alreadyIn reports whether a ghost has accepted an invitation to a room that is a
// portal. A repeated report is not a new invitation.
func (h *invitations) alreadyIn(ctx context.Context, inv model.Invitation) bool {
	if !h.Joined.Has(inv.Room, inv.Ghost) {
		return false
	}
	_, ok, err := h.Store.PortalByMX(ctx, inv.Room)
	return ok && err == nil
}

// mayLetIn reports whether the operator lets the inviter bring Rocket.Chat users into the
// room. A room that is not a portal yet belongs to Matrix.
func (h *invitations) mayLetIn(ctx context.Context, inv model.Invitation) (bool, error) {
	p, ok, err := h.Store.PortalByMX(ctx, inv.Room)
	if err != nil || !ok || p.IsDirect() {
		return err == nil, err
	}
	list := h.Live().Permissions.Invite
	puppet, ok, err := h.Store.PuppetByMX(ctx, inv.Inviter)
	if err != nil || !ok {
		return err == nil && config.Holds(list), err
	}
	return h.Admission.Holds(ctx, list, puppet.RCUser, p)
}

// lookForEncryption sends a notice if the bridge cannot read a room that a
// ghost has just joined.
func (h *invitations) lookForEncryption(ctx context.Context, inv model.Invitation) error {
	_, encrypted, err := h.MX.State(ctx, inv.Room, inv.Ghost, model.StateEncryption, "")
	if err != nil || !encrypted {
		return model.Ignore(err, model.ErrForbidden)
	}
	p, ok, err := h.Store.PortalByMX(ctx, inv.Room)
	if err != nil || !ok {
		return err
	}
	return h.Notices.Encrypted(ctx, p)
}

// decline queues the rejection of an invitation, with the reason.
func (h *invitations) decline(ctx context.Context, item queue.Item, inv model.Invitation, why string) error {
	declined, err := event.Item(item.ID+" declined", model.MXLane(inv.Room), event.MXDecline{Room: inv.Room, Ghost: inv.Ghost, Reason: why})
	if err != nil {
		return err
	}
	h.Log.Info("an invitation is declined", "inviter_server", inv.Inviter.Homeserver(), "mx_room", inv.Room, "reason", why)
	return h.Accept(ctx, []queue.Item{declined}, nil)
}

// declineNow declines an invitation on Matrix.
func (h *invitations) declineNow(ctx context.Context, item queue.Item, d event.MXDecline) error {
	if item.Attempts == 0 {
		return queue.Later(declineAfter, errors.New("the inviting server may not have stored the invitation"))
	}
	return model.Outcome(item, model.Ignore(h.MX.Refuse(ctx, d.Room, d.Ghost, d.Reason), model.ErrForbidden, model.ErrNotFound), "")
}
