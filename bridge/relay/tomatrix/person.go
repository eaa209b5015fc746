package tomatrix

import (
	"context"
	"strings"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/transfer"
)

// persons updates the names and pictures of ghosts.
type persons struct {
	*base
	Store personStore
	RC    personRocketChat
	MX    personMatrix
}

// deliver gives a ghost the name and picture of its user, and makes it leave if the user is gone.
func (h *persons) deliver(ctx context.Context, item queue.Item, in event.RCPerson) error {
	is, ok, err := h.RC.Profile(ctx, in.User)
	if err != nil {
		return model.Outcome(item, err, "")
	}
	if puppet, mine, err := h.Store.PuppetByRC(ctx, in.User); err != nil || mine {
		if err == nil && ok && puppet.Username != strings.ToLower(is.Username) {
			puppet.Username = is.Username // the account was renamed
			err = h.Store.PutPuppet(ctx, puppet)
		}
		return err
	}
	g, known, err := h.Store.GhostByRC(ctx, in.User)
	if err != nil || !known {
		return err
	}
	if !ok || !is.Active {
		return model.Outcome(item, h.depart(ctx, g), "")
	}
	if g, err = h.People.Ghost(ctx, is.RCPerson); err != nil {
		return model.Outcome(item, err, "")
	}
	return model.Outcome(item, h.portrait(ctx, g, is), "the Matrix server refused the picture")
}

// depart makes a ghost whose user is gone leave all its rooms. Its address stays taken,
// so that nobody else speaks under it later.
func (h *persons) depart(ctx context.Context, g model.Ghost) error {
	rooms, err := h.MX.JoinedRooms(ctx, g.MXUser)
	if err != nil {
		return err
	}
	for _, room := range rooms {
		h.Joined.Forget(room, g.MXUser)
		if err := model.Ignore(h.MX.Leave(ctx, room, g.MXUser), model.ErrForbidden, model.ErrNotFound); err != nil {
			return err
		}
	}
	h.Log.Info("a deleted user left their rooms on Matrix", "rc_user", g.RCUser, "rooms", len(rooms))
	return nil
}

// portrait copies a picture that has changed.
func (h *persons) portrait(ctx context.Context, g model.Ghost, is model.RCProfile) error {
	fetch := func() ([]byte, error) { return h.RC.Avatar(ctx, is.Username, transfer.MaxPortrait) }
	return h.Pictures.Copy(ctx, g.MXUser, model.AvatarCursor(is.ID), is.Avatar, fetch, func(mxc string) error {
		return h.MX.SetAvatar(ctx, g.MXUser, mxc)
	})
}
