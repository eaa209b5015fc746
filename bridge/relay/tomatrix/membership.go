package tomatrix

import (
	"context"
	"encoding/json"
	"errors"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
)

// memberships makes all members join a room that was just bridged.
type memberships struct {
	*base
	Store   membershipStore
	RC      membershipRocketChat
	MX      membershipMatrix
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
	room, err := h.present(ctx, p)
	if err != nil {
		return model.Outcome(item, err, "")
	}
	for _, who := range members {
		if err := h.Joined.BringInto(ctx, p, who, room); err != nil {
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

// present returns who is in a room, and whether others need an invitation. A reader that
// has not joined yet sees nothing.
func (h *memberships) present(ctx context.Context, p model.Portal) (people.Present, error) {
	members, err := h.MX.Members(ctx, p.MXRoom, p.Reader(h.Names))
	if err != nil {
		return people.Present{}, model.Ignore(err, model.ErrForbidden, model.ErrNotFound)
	}
	room := people.Present{Membership: map[ids.MXUser]string{}}
	for _, m := range members {
		room.Membership[m.User] = m.Membership
	}
	content, _, err := h.MX.State(ctx, p.MXRoom, p.Reader(h.Names), model.StateJoinRules, "")
	var rules struct {
		Rule string `json:"join_rule"`
	}
	_ = json.Unmarshal(content, &rules) // content of another type says nothing
	room.Closed = rules.Rule == "invite"
	return room, err
}
