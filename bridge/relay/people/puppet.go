package people

import (
	"context"
	"errors"
	"fmt"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Puppet returns the Rocket.Chat user that speaks for a Matrix user, created as needed.
// name is the last display name seen, "" if none.
func (pl *People) Puppet(ctx context.Context, user ids.MXUser, name string) (p model.Puppet, err error) {
	p, ok, err := pl.Store.PuppetByMX(ctx, user)
	if err != nil || (ok && name == "") {
		return p, err
	}
	own := ownName(user, name)
	if ok && p.Name == own {
		return p, nil
	}
	err = pl.Locks.Do(string(user), func() error {
		if p, ok, err = pl.Store.PuppetByMX(ctx, user); err != nil {
			return err
		}
		if !ok {
			if err := pl.Admission.admitAccount(user); err != nil {
				return err
			}
			if p, err = pl.RC.CreatePuppet(ctx, user, own); err != nil {
				return fmt.Errorf("make an account for %s: %w", user, err)
			}
			if err := pl.Store.PutPuppet(ctx, p); err != nil {
				return err
			}
			return pl.Accept(ctx, []queue.Item{model.MXPersonItem(user, "is new")}, nil)
		}
		return pl.renamePuppet(ctx, &p, own)
	})
	return p, err
}

// renamePuppet applies a new display name. A name that Rocket.Chat rejects does not
// hold up a message.
func (pl *People) renamePuppet(ctx context.Context, p *model.Puppet, name string) error {
	if p.Name == name {
		return nil
	}
	if err := pl.RC.Rename(ctx, *p, name); err != nil && !errors.Is(err, model.ErrRefused) && !errors.Is(err, model.ErrForbidden) {
		return fmt.Errorf("rename %s: %w", p.Username, err)
	}
	p.Name = name
	return pl.Store.PutPuppet(ctx, *p)
}

// IsPuppet reports whether a Rocket.Chat user is a puppet. The bridge account is not one.
func (pl *People) IsPuppet(ctx context.Context, user ids.RCUser) (bool, error) {
	_, ok, err := pl.Store.PuppetByRC(ctx, user)
	return ok, err
}

// ownName returns the display name for a puppet: safe to show, and with the server that
// vouches for it. People on Matrix choose their names freely, and letters of other
// alphabets look alike, so without the server anybody could impersonate anybody.
func ownName(user ids.MXUser, name string) string {
	local, server, _ := user.Parse()
	server = " (" + server + ")"
	return convert.ShortName(name, convert.Name(local, "unnamed"), len([]rune(server))) + server
}
