package tomatrix

import (
	"context"
	"errors"
	"fmt"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// roles applies the roles of a Rocket.Chat room to Matrix.
type roles struct {
	*base
	RC roleRocketChat
}

// follow gives a person whose role has changed the matching power level. If Matrix does
// not allow it, the role is changed back, so that both sides agree.
func (h *roles) follow(ctx context.Context, p model.Portal, m rocketchat.Message, as ids.MXUser) error {
	who, ok, err := h.RC.UserByName(ctx, m.Text)
	if err != nil || !ok || h.RC.IsBridge(who.ID) {
		return err
	}
	mx, _, ok := h.People.AddressOf(ctx, who)
	if !ok {
		return fmt.Errorf("%w: the Matrix address of %s", model.ErrUnavailable, who.ID)
	}
	roles, err := h.RC.Roles(ctx, p)
	if err != nil {
		return err
	}
	powers, err := h.State.Powers(ctx, p)
	if err != nil {
		return err
	}
	has, wanted := powers.Of(string(mx)), roles[who.ID]
	if model.RoleAt(has) == wanted {
		return nil
	}
	if err = model.ErrForbidden; !powers.Creators[string(mx)] { // nobody can take a creator's power
		err = h.State.Set(ctx, p, as, model.StatePowers, powers.With(string(mx), model.PowerOf[wanted]))
	}
	if !errors.Is(err, model.ErrForbidden) {
		return err
	}
	if rerr := h.RC.SetRole(ctx, p, who.ID, model.RoleAt(has)); rerr != nil && !errors.Is(rerr, model.ErrRefused) && !errors.Is(rerr, model.ErrForbidden) {
		return rerr
	}
	h.Notices.Author(ctx, m, fmt.Sprintf("The role of %s was changed back: the room on Matrix does not allow you to change it.", who.Display()))
	return nil
}
