package people

import (
	"context"
	"fmt"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Ghost returns the Matrix user that speaks for a person in Rocket.Chat, created and named
// as needed. A ghost keeps its address when its user is renamed.
func (pl *People) Ghost(ctx context.Context, who model.RCPerson) (g model.Ghost, err error) {
	g, ok, err := pl.Store.GhostByRC(ctx, who.ID)
	if err != nil || (ok && g.Name == who.Display() && g.Username == who.Username) {
		return g, err
	}
	err = pl.Locks.Do(string(who.ID), func() error {
		if g, ok, err = pl.Store.GhostByRC(ctx, who.ID); err != nil {
			return err
		}
		if !ok {
			if g, err = pl.freeGhost(ctx, who); err != nil {
				return err
			}
		}
		g.Username, g.Name = who.Username, who.Display()
		if err := pl.MX.Register(ctx, g.MXUser, convert.Name(g.Name, g.Username)); err != nil {
			return fmt.Errorf("make %s on Matrix: %w", g.MXUser, err)
		}
		if err := pl.Store.PutGhost(ctx, g); err != nil || ok {
			return err
		}
		return pl.Accept(ctx, []queue.Item{model.RCPersonItem(who.ID, "is new")}, nil)
	})
	return g, err
}

// freeGhost finds an address that is not in use. An address is taken if another user had
// the name before being renamed.
func (pl *People) freeGhost(ctx context.Context, who model.RCPerson) (model.Ghost, error) {
	for attempt := range 100 {
		mx, ok := pl.Names.Ghost(who.Username, attempt)
		if !ok {
			break
		}
		_, taken, err := pl.Store.GhostByMX(ctx, mx)
		if err != nil {
			return model.Ghost{}, err
		}
		if !taken && mx != pl.Names.BotUser() {
			return model.Ghost{RCUser: who.ID, MXUser: mx}, nil
		}
	}
	return model.Ghost{}, queue.Permanent("your username does not fit into a Matrix address", fmt.Errorf("no free address for the user %s", who.ID))
}

// Person returns the Rocket.Chat user that a Matrix address of ours stands for, and
// creates its ghost: homeservers query an address when a person looks it up. ok is false
// when there is no such user.
func (pl *People) Person(ctx context.Context, mx ids.MXUser) (who model.RCPerson, ok bool, err error) {
	if mx == pl.Names.BotUser() {
		return model.RCPerson{}, false, nil
	}
	if g, ok, err := pl.Store.GhostByMX(ctx, mx); err != nil || ok {
		if err != nil {
			return model.RCPerson{}, false, err
		}
		return pl.RC.UserByID(ctx, g.RCUser)
	}
	username, ok := pl.Names.Username(mx)
	if !ok {
		return model.RCPerson{}, false, nil
	}
	if who, ok, err = pl.RC.UserByName(ctx, username); err != nil || !ok {
		return model.RCPerson{}, false, err
	}
	if _, puppet, err := pl.Store.PuppetByRC(ctx, who.ID); err != nil || puppet {
		return model.RCPerson{}, false, err
	}
	g, err := pl.Ghost(ctx, who)
	return who, err == nil && g.MXUser == mx, err
}

// AddressOf returns the Matrix user behind a puppet, or else the ghost of a Rocket.Chat user.
func (pl *People) AddressOf(ctx context.Context, who model.RCPerson) (mx ids.MXUser, name string, ok bool) {
	if p, ok, err := pl.Store.PuppetByRC(ctx, who.ID); err != nil || ok {
		return p.MXUser, p.Name, ok && err == nil
	}
	g, err := pl.Ghost(ctx, who)
	return g.MXUser, g.Name, err == nil
}

// UserOf returns the Rocket.Chat user that an address stands for.
func (pl *People) UserOf(ctx context.Context, mx ids.MXUser) (ids.RCUser, bool, error) {
	if pl.Names.Owns(mx) {
		g, ok, err := pl.Store.GhostByMX(ctx, mx)
		return g.RCUser, ok, err
	}
	puppet, ok, err := pl.Store.PuppetByMX(ctx, mx)
	return puppet.RCUser, ok, err
}
