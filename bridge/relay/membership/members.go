// Package membership keeps the members of both rooms of a portal in sync: members.go
// handles departures, newcomers.go helps servers that have just joined, and reconcile.go
// periodically compares the rooms.
package membership

import (
	"context"
	"errors"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
)

// Members makes ghosts leave rooms.
type Members struct {
	Store   memberStore
	MX      memberMatrix
	Portals *portal.Portals
	Joined  *people.Joined
	Names   ids.Namespace
}

// TakeOut makes the ghost of a person who has left leave too.
func (ms *Members) TakeOut(ctx context.Context, p model.Portal, who ids.RCUser) error {
	g, ok, err := ms.Store.GhostByRC(ctx, who)
	if err != nil || !ok {
		return err
	}
	if g.MXUser == p.MXReader {
		if p, _, err = ms.Portals.HandOver(ctx, p); err != nil {
			return err
		}
	}
	ms.Joined.Forget(p.MXRoom, g.MXUser)
	if err := ms.MX.Leave(ctx, p.MXRoom, g.MXUser); err != nil && !errors.Is(err, model.ErrForbidden) && !errors.Is(err, model.ErrNotFound) {
		return err
	}
	return nil
}

// TakeOutStrangers makes ghosts leave whose users are not members.
func (ms *Members) TakeOutStrangers(ctx context.Context, p model.Portal, members []model.RCPerson) error {
	in := map[ids.RCUser]bool{}
	for _, m := range members {
		in[m.ID] = true
	}
	joined, err := ms.MX.Members(ctx, p.MXRoom, p.Reader(ms.Names))
	if err != nil {
		return err
	}
	for _, m := range joined {
		if m.Membership != "join" || !ms.Names.Owns(m.User) || m.User == ms.Names.BotUser() || m.User == p.Reader(ms.Names) {
			continue
		}
		g, ok, err := ms.Store.GhostByMX(ctx, m.User)
		if err != nil {
			return err
		}
		if ok && !in[g.RCUser] {
			if err := ms.TakeOut(ctx, p, g.RCUser); err != nil {
				return err
			}
		}
	}
	return nil
}
