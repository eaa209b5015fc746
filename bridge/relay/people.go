package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// alone runs f while nobody else runs one for the same key: two rooms may meet
// the same newcomer at the same moment.
func (r *Relay) alone(key string, f func() error) error {
	m, _ := r.people.LoadOrStore(key, &sync.Mutex{})
	mu, _ := m.(*sync.Mutex)
	mu.Lock()
	defer mu.Unlock()
	return f()
}

// ghost returns the Matrix user that speaks for somebody, made and named as
// needed. A ghost keeps its address when its user is renamed.
func (r *Relay) ghost(ctx context.Context, who RCPerson) (g Ghost, err error) {
	g, ok, err := r.Store.GhostByRC(ctx, who.ID)
	if err != nil || (ok && g.Name == who.Display() && g.Username == who.Username) {
		return g, err
	}
	err = r.alone(string(who.ID), func() error {
		if g, ok, err = r.Store.GhostByRC(ctx, who.ID); err != nil {
			return err
		}
		if !ok {
			if g, err = r.freeGhost(ctx, who); err != nil {
				return err
			}
		}
		g.Username, g.Name = who.Username, who.Display()
		if err := r.MX.Register(ctx, g.MXUser, convert.Name(g.Name, g.Username)); err != nil {
			return fmt.Errorf("make %s on Matrix: %w", g.MXUser, err)
		}
		if err := r.Store.PutGhost(ctx, g); err != nil || ok {
			return err
		}
		return r.Accept(ctx, []queue.Item{RCPersonItem(who.ID, "is new")}, nil)
	})
	return g, err
}

// freeGhost finds an address that stands for nobody else. An address is taken
// when another user had the name before and was renamed since.
func (r *Relay) freeGhost(ctx context.Context, who RCPerson) (Ghost, error) {
	for attempt := range 100 {
		mx, ok := r.Names.Ghost(who.Username, attempt)
		if !ok {
			break
		}
		_, taken, err := r.Store.GhostByMX(ctx, mx)
		if err != nil {
			return Ghost{}, err
		}
		if !taken && mx != r.Names.BotUser() {
			return Ghost{RCUser: who.ID, MXUser: mx}, nil
		}
	}
	return Ghost{}, queue.Permanent("your username does not fit into a Matrix address", fmt.Errorf("no free address for the user %s", who.ID))
}

// Person returns the Rocket.Chat user that a Matrix address of ours stands for,
// and makes its ghost: homeservers ask when somebody looks for the address. ok
// is false when there is no such user.
func (r *Relay) Person(ctx context.Context, mx ids.MXUser) (who RCPerson, ok bool, err error) {
	if mx == r.Names.BotUser() {
		return RCPerson{}, false, nil
	}
	if g, ok, err := r.Store.GhostByMX(ctx, mx); err != nil || ok {
		if err != nil {
			return RCPerson{}, false, err
		}
		return r.RC.UserByID(ctx, g.RCUser)
	}
	username, ok := r.Names.Username(mx)
	if !ok {
		return RCPerson{}, false, nil
	}
	if who, ok, err = r.RC.UserByName(ctx, username); err != nil || !ok {
		return RCPerson{}, false, err
	}
	if _, puppet, err := r.Store.PuppetByRC(ctx, who.ID); err != nil || puppet {
		return RCPerson{}, false, err
	}
	g, err := r.ghost(ctx, who)
	return who, err == nil && g.MXUser == mx, err
}

// puppet returns the Rocket.Chat user that speaks for a Matrix user, made as
// needed. name is the display name that was last seen, "" when none was.
func (r *Relay) puppet(ctx context.Context, user ids.MXUser, name string) (p Puppet, err error) {
	p, ok, err := r.Store.PuppetByMX(ctx, user)
	if err != nil || (ok && name == "") {
		return p, err
	}
	own := ownName(user, name)
	if ok && p.Name == own {
		return p, nil
	}
	err = r.alone(string(user), func() error {
		if p, ok, err = r.Store.PuppetByMX(ctx, user); err != nil {
			return err
		}
		if !ok {
			if err := r.admitAccount(user); err != nil {
				return err
			}
			if p, err = r.RC.CreatePuppet(ctx, user, own); err != nil {
				return fmt.Errorf("make an account for %s: %w", user, err)
			}
			if err := r.Store.PutPuppet(ctx, p); err != nil {
				return err
			}
			return r.Accept(ctx, []queue.Item{MXPersonItem(user, "is new")}, nil)
		}
		return r.renamePuppet(ctx, &p, own)
	})
	return p, err
}

// renamePuppet follows a new display name. A name that Rocket.Chat refuses does
// not hold up a message.
func (r *Relay) renamePuppet(ctx context.Context, p *Puppet, name string) error {
	if p.Name == name {
		return nil
	}
	if err := r.RC.Rename(ctx, *p, name); err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrForbidden) {
		return fmt.Errorf("rename %s: %w", p.Username, err)
	}
	p.Name = name
	return r.Store.PutPuppet(ctx, *p)
}

// ours reports whether a Rocket.Chat user is a puppet. The bridge account is none.
func (r *Relay) ours(ctx context.Context, user ids.RCUser) (bool, error) {
	_, ok, err := r.Store.PuppetByRC(ctx, user)
	return ok, err
}

// ensureJoined makes a ghost join a room unless it is known to be there.
func (r *Relay) ensureJoined(ctx context.Context, p Portal, ghost ids.MXUser) error {
	key := string(p.MXRoom) + " " + string(ghost)
	if _, ok := r.joined.Load(key); ok {
		return nil
	}
	if err := r.MX.Join(ctx, p.MXRoom, ghost, r.reader(p)); err != nil {
		return fmt.Errorf("join %s: %w", ghost, err)
	}
	r.joined.Store(key, struct{}{})
	return nil
}

func (r *Relay) forgetJoined(room ids.MXRoom, ghost ids.MXUser) {
	r.joined.Delete(string(room) + " " + string(ghost))
}

// reader returns the Matrix user through which a portal is read.
func (r *Relay) reader(p Portal) ids.MXUser {
	return p.ReadAs(r.Names.BotUser())
}
