package tomatrix

import (
	"context"
	"errors"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
)

// memberships makes all members join a room that was just bridged.
type memberships struct {
	*base
	Store   membershipStore
	RC      membershipRocketChat
	Members *membership.Members
}

// deliver makes the ghosts of all members join a room that was just bridged, so that
// people on Matrix see who is listening.
func (h *memberships) deliver(ctx context.Context, item queue.Item, in event.RCMembership) error {
	p, ok, err := h.Store.PortalByRC(ctx, in.Room)
	if err != nil || !ok {
		return err
	}
	members, err := h.RC.Members(ctx, p)
	if err != nil {
		return model.Outcome(item, err, "")
	}
	for _, who := range members {
		if err := h.Joined.BringIn(ctx, p, who); err != nil {
			if errors.Is(err, model.ErrUnavailable) || ctx.Err() != nil {
				return model.Outcome(item, err, "")
			}
			h.Log.Warn("a member could not join on Matrix", "rc_user", who.ID, "mx_room", p.MXRoom, "err", err)
		}
	}
	if info, ok, err := h.RC.Room(ctx, p.RCRoom); err == nil && ok && !p.IsDirect() {
		if err := h.State.SetPicture(ctx, p, p.Reader(h.Names), info); err != nil {
			h.Log.Warn("a room's picture could not be copied", "mx_room", p.MXRoom, "err", err)
		}
	}
	return model.Outcome(item, h.Members.TakeOutStrangers(ctx, p, members), "")
}
