package portal

import (
	"context"
	"errors"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Invite invites a Matrix user to a portal's room. It is no error if the user is already there.
func (ps *Portals) Invite(ctx context.Context, p model.Portal, as, target ids.MXUser) error {
	err := ps.MX.Invite(ctx, p.MXRoom, as, target)
	if errors.Is(err, model.ErrForbidden) && as != p.Reader(ps.Names) {
		// Members without power may invite where the operator lets them.
		err = ps.MX.Invite(ctx, p.MXRoom, p.Reader(ps.Names), target)
	}
	switch {
	case errors.Is(err, model.ErrForbidden):
		members, merr := ps.MX.Members(ctx, p.MXRoom, p.Reader(ps.Names))
		if merr != nil {
			return merr
		}
		for _, m := range members {
			if m.User == target && (m.Membership == "join" || m.Membership == "invite") {
				return nil
			}
		}
		return model.Say("%s cannot be invited: the room or their server does not allow it", target)
	case errors.Is(err, model.ErrUnavailable):
		return model.Say("the server %s does not answer, so %s could not be invited; check the address or try again later", target.Homeserver(), target)
	case errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrRefused):
		return model.Say("%s could not be invited: %s does not know them or refused", target, target.Homeserver())
	}
	return err
}
