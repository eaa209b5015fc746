package tomatrix

import (
	"context"
	"errors"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// invites sends invitations that waited for a backfill.
type invites struct {
	*base
	Store inviteStore
}

// deliver sends an invitation that has waited. The person who requested it
// is told if it fails.
func (h *invites) deliver(ctx context.Context, item queue.Item, inv event.RCInvite) error {
	caller := model.RCPerson(inv.Caller)
	p, ok, err := h.Store.PortalByRC(ctx, inv.Room)
	if err != nil || !ok {
		return err
	}
	g, err := h.People.Ghost(ctx, caller)
	if err == nil {
		err = h.Joined.Ensure(ctx, p, g.MXUser)
	}
	if err == nil {
		err = h.Portals.Invite(ctx, p, g.MXUser, inv.Target)
	}
	if se, ok := errors.AsType[*model.SayError](err); ok {
		h.Notices.Sorry(ctx, caller, se)
		return nil
	}
	return model.Outcome(item, err, "")
}
