package portal

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// HandOver makes another ghost the reader of a portal before its reader leaves. It
// returns false if there is none.
func (ps *Portals) HandOver(ctx context.Context, p model.Portal) (model.Portal, bool, error) {
	members, err := ps.MX.Members(ctx, p.MXRoom, p.MXReader)
	if err != nil {
		return p, false, err
	}
	for _, m := range members {
		// A homeserver may take a moment to show that an invited user has joined.
		joined := m.Membership == "join" || m.Membership == "invite" && ps.Joined.Has(p.MXRoom, m.User)
		if !joined || m.User == p.MXReader || !ps.Names.Owns(m.User) {
			continue
		}
		p, err := ps.readAs(ctx, p, m.User)
		return p, err == nil, err
	}
	return p, false, nil
}

// TakeOver makes a ghost the reader of a portal if it is in the room, and the portal's reader
// no longer is: nobody else was there when that one left. A ghost that may not read the room is
// not in it.
func (ps *Portals) TakeOver(ctx context.Context, p model.Portal, ghost ids.MXUser) (model.Portal, error) {
	if p.MXReader == "" || p.MXReader == ghost {
		return p, nil
	}
	seen := p
	seen.MXReader = ghost
	is, err := model.MembershipOf(ctx, ps.MX, seen, ps.Names, ghost)
	if err != nil || is != "join" {
		return p, model.Ignore(err, model.ErrForbidden, model.ErrNotFound)
	}
	was, err := model.MembershipOf(ctx, ps.MX, seen, ps.Names, p.MXReader)
	if err != nil || was == "join" {
		return p, model.Ignore(err, model.ErrForbidden, model.ErrNotFound)
	}
	return ps.readAs(ctx, p, ghost)
}

// readAs makes one of our users the reader of a portal.
func (ps *Portals) readAs(ctx context.Context, p model.Portal, user ids.MXUser) (model.Portal, error) {
	next := p
	next.MXReader = user
	if user == ps.Names.BotUser() {
		next.MXReader = ""
	}
	if err := ps.Store.PutPortal(ctx, next, nil, nil); err != nil {
		return p, err
	}
	ps.MX.Follow(next.MXReader)
	return next, nil
}
