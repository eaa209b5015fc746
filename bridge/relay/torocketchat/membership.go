package torocketchat

import (
	"context"
	"errors"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// memberships adds all members to a room that was just bridged.
type memberships struct {
	*base
	Store membershipStore
	RC    membershipRocketChat
	MX    membershipMatrix
	rooms *rooms
}

// deliver adds all members of a Matrix room that was just bridged.
func (h *memberships) deliver(ctx context.Context, item queue.Item, in event.MXMembership) error {
	p, ok, err := h.Store.PortalByMX(ctx, in.Room)
	if err != nil || !ok {
		return err
	}
	members, err := h.MX.Members(ctx, p.MXRoom, p.Reader(h.Names))
	if err != nil {
		return model.Outcome(item, err, "")
	}
	for _, m := range members {
		if m.Membership != "join" || h.Names.Owns(m.User) {
			continue
		}
		puppet, err := h.People.Puppet(ctx, m.User, m.Name)
		if err == nil && !p.IsDirect() {
			err = h.RC.Add(ctx, p, puppet.RCUser)
		}
		if err != nil && (errors.Is(err, model.ErrUnavailable) || ctx.Err() != nil) {
			return model.Outcome(item, err, "")
		}
		if err != nil {
			h.Log.Warn("a member could not join in Rocket.Chat", "mx_user", m.User, "rc_room", p.RCRoom, "err", err)
		}
	}
	return model.Outcome(item, h.rooms.all(ctx, p), "")
}
