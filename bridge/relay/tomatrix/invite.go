package tomatrix

import (
	"context"
	"encoding/json"
	"errors"

	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
)

// invites makes invitations that waited for the past of a room.
type invites struct {
	*base
	Store inviteStore
}

// deliver makes an invitation that has waited. Whoever asked for it is told when
// it fails.
func (h *invites) deliver(ctx context.Context, item queue.Item) error {
	var inv portal.Invitee
	if err := json.Unmarshal(item.Payload, &inv); err != nil {
		return queue.Permanent("it could not be read", err)
	}
	p, ok, err := h.Store.PortalByRC(ctx, inv.Room)
	if err != nil || !ok {
		return err
	}
	g, err := h.People.Ghost(ctx, inv.Caller)
	if err == nil {
		err = h.Joined.Ensure(ctx, p, g.MXUser)
	}
	if err == nil {
		err = h.Portals.Invite(ctx, p, g.MXUser, inv.Target)
	}
	if se, ok := errors.AsType[*model.SayError](err); ok {
		h.Notices.Sorry(ctx, inv.Caller, se)
		return nil
	}
	return model.Outcome(item, err, "")
}
