package torocketchat

import (
	"context"
	"errors"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// roles applies the power levels of a Matrix room to Rocket.Chat.
type roles struct {
	*base
	RC roleRocketChat
}

// writers makes a room read-only if only people with power may write.
func (h *roles) writers(ctx context.Context, p model.Portal, powers convert.Powers) error {
	info, ok, err := h.RC.Room(ctx, p.RCRoom)
	if err != nil || !ok || info.Archived {
		return err
	}
	if readOnly := powers.Events > powers.Default; readOnly != info.ReadOnly {
		return h.RC.Change(ctx, p, model.RCRoomChange{ReadOnly: &readOnly})
	}
	return nil
}

// follow gives everybody the role that matches their power level. Rocket.Chat users who
// are not named on Matrix keep their role.
func (h *roles) follow(ctx context.Context, p model.Portal, powers convert.Powers) error {
	roles, err := h.RC.Roles(ctx, p)
	if err != nil {
		return err
	}
	wanted := map[ids.RCUser]model.Role{}
	for address, level := range powers.Named() {
		user, ok, err := h.People.UserOf(ctx, ids.MXUser(address))
		if err != nil {
			return err
		}
		if ok {
			wanted[user] = model.RoleAt(level)
		}
	}
	for user := range roles { // a puppet that is not named any more
		if _, named := wanted[user]; !named {
			if puppet, err := h.People.IsPuppet(ctx, user); err != nil {
				return err
			} else if puppet {
				wanted[user] = model.RoleAt(powers.Default)
			}
		}
	}
	var refused error
	for user, role := range wanted {
		if roles[user] == role || h.RC.IsBridge(user) {
			continue
		}
		err := h.RC.SetRole(ctx, p, user, role)
		switch {
		case errors.Is(err, model.ErrRefused), errors.Is(err, model.ErrForbidden):
			refused = err
		case errors.Is(err, model.ErrNotFound): // not in the room
		case err != nil:
			return err
		}
	}
	return refused
}
