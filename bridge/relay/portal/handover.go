package portal

import (
	"context"

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
		if m.Membership != "join" || m.User == p.MXReader || !ps.Names.Owns(m.User) {
			continue
		}
		p.MXReader = m.User
		if m.User == ps.Names.BotUser() {
			p.MXReader = ""
		}
		if err := ps.Store.PutPortal(ctx, p, nil, nil); err != nil {
			return p, false, err
		}
		ps.MX.Follow(p.MXReader)
		return p, true, nil
	}
	return p, false, nil
}
