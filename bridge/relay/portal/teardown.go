package portal

import (
	"context"
	"slices"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// TearDown ends a portal and says why on Matrix. After an error the portal is unchanged.
func (ps *Portals) TearDown(ctx context.Context, p model.Portal, why string) error {
	// A homeserver that does not respond now may respond on a retry. One that shows
	// nothing has removed us.
	members, err := ps.MX.Members(ctx, p.MXRoom, p.Reader(ps.Names))
	if err = model.Ignore(err, model.ErrForbidden, model.ErrNotFound); err != nil {
		return err
	}
	// From here on nothing is relayed, so the departures below are not either.
	if err := ps.Store.DropPortal(ctx, p); err != nil {
		return err
	}
	ps.RC.Unwatch(p)
	ps.Log.Info("a room is no longer bridged", "rc_room", p.RCRoom, "mx_room", p.MXRoom)
	reader := p.Reader(ps.Names)
	if err := ps.MX.Notice(ctx, p.MXRoom, reader, ids.Transaction(reader, "unbridge "+p.Created.String(), 0), why); err != nil {
		ps.Log.Warn("the end of a portal could not be announced", "mx_room", p.MXRoom, "err", err)
	}
	slices.SortStableFunc(members, func(a, b model.MXMember) int {
		return map[bool]int{true: 1}[a.User == reader] - map[bool]int{true: 1}[b.User == reader]
	})
	for _, m := range members { // the reader leaves last: it lists the members and sends the notice
		if m.Membership != "join" && m.Membership != "invite" {
			continue
		}
		if ps.Names.Owns(m.User) {
			ps.Joined.Forget(p.MXRoom, m.User)
			err = ps.MX.Leave(ctx, p.MXRoom, m.User)
		} else if puppet, ok, perr := ps.Store.PuppetByMX(ctx, m.User); perr == nil && ok && !p.IsDirect() {
			err = ps.RC.Remove(ctx, p, puppet.RCUser)
		}
		if model.Ignore(err, model.ErrForbidden, model.ErrNotFound, model.ErrRefused) != nil {
			ps.Log.Warn("a member could not leave a room that is no longer bridged", "mx_room", p.MXRoom, "err", err)
		}
	}
	return nil
}
