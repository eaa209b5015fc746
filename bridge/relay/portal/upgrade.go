package portal

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
)

const (
	// invitedTries and invitedGap bound how often a ghost that was just invited tries to
	// join: the servers take a moment to agree on the invitation.
	invitedTries = 5
	invitedGap   = 500 * time.Millisecond
)

// Upgrades moves portals to the rooms that replace their Matrix rooms.
type Upgrades struct {
	Store   upgradeStore
	RC      upgradeRocketChat
	MX      upgradeMatrix
	Names   ids.Namespace
	Log     *slog.Logger
	Wake    func()
	Joined  *people.Joined
	Notices *notice.Notices
	Locks   *model.Locks
}

// Follow moves a portal to the room that replaces its Matrix room.
func (u *Upgrades) Follow(ctx context.Context, p model.Portal, by ids.MXUser, next ids.MXRoom) error {
	if next == "" || next == p.MXRoom {
		return nil
	}
	return u.Locks.Do("begin "+string(next), func() error { return u.followAlone(ctx, p, by, next) })
}

// followAlone is Follow while the next room is locked, so that no other portal begins in it.
func (u *Upgrades) followAlone(ctx context.Context, p model.Portal, by ids.MXUser, next ids.MXRoom) error {
	if _, used, err := u.Store.PortalByMX(ctx, next); err != nil || used {
		return err
	}
	via := by.Homeserver()
	if err := u.MX.JoinVia(ctx, next, p.Reader(u.Names), via); err != nil {
		if errors.Is(err, model.ErrForbidden) {
			u.Notices.OnBoth(ctx, p, "upgrade "+string(next), "This room has moved elsewhere on Matrix, and the bridge was not admitted there. Invite a user of Rocket.Chat to the new room to continue.")
			return nil
		}
		return err
	}
	return u.move(ctx, p, next, p.Reader(u.Names), via)
}

// replaces returns the portal whose Matrix room a room replaces, if both rooms say so.
// sure is false while the old room may still confirm it.
func (u *Upgrades) replaces(ctx context.Context, created model.MXCreation, room ids.MXRoom) (p model.Portal, ok, sure bool, err error) {
	if created.Predecessor == "" {
		return p, false, true, nil
	}
	if p, ok, err = u.Store.PortalByMX(ctx, created.Predecessor); err != nil || !ok {
		return p, false, true, err
	}
	content, _, err := u.MX.State(ctx, p.MXRoom, p.Reader(u.Names), model.StateTombstone, "")
	if err != nil {
		return p, false, true, model.Ignore(err, model.ErrForbidden)
	}
	next := convert.StateText(content, "replacement_room")
	return p, next == string(room), next != "", nil
}

// move moves a portal to another Matrix room that guest, a ghost or the bridge's own
// user, has already joined. The ghosts of the old room join too.
func (u *Upgrades) move(ctx context.Context, p model.Portal, next ids.MXRoom, guest ids.MXUser, via string) error {
	old := p
	members, err := u.MX.Members(ctx, old.MXRoom, old.Reader(u.Names))
	if err != nil {
		return err
	}
	join := func(who ids.MXUser) error {
		err := u.MX.JoinVia(ctx, next, who, via)
		if !errors.Is(err, model.ErrForbidden) && !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if err := u.MX.Invite(ctx, next, guest, who); err != nil {
			return err
		}
		return u.joinInvited(ctx, next, who, via)
	}
	p.MXRoom = next
	if reader := old.Reader(u.Names); reader != guest && join(reader) != nil {
		p.MXReader = guest
	}
	everybody := model.MXMembershipItem(string(next), next)
	if err := u.Store.PutPortal(ctx, p, []queue.Item{everybody}, nil); err != nil {
		return err
	}
	u.Log.Info("a room continues in its replacement", "rc_room", p.RCRoom, "mx_room", next, "mx_room_before", old.MXRoom)
	u.RC.Watch(p)
	u.MX.Follow(p.MXReader)
	u.Wake()
	for _, m := range members {
		if m.Membership != "join" || !u.Names.Owns(m.User) || m.User == p.Reader(u.Names) || m.User == guest {
			continue
		}
		if err := join(m.User); err != nil {
			u.Log.Warn("a ghost could not follow into another room", "mx_user", m.User, "mx_room", next, "err", err)
			continue
		}
		u.Joined.Note(next, m.User)
	}
	return nil
}

func (u *Upgrades) joinInvited(ctx context.Context, room ids.MXRoom, who ids.MXUser, via string) error {
	for n := 1; ; n++ {
		err := u.MX.JoinVia(ctx, room, who, via)
		if err == nil || n == invitedTries || !errors.Is(err, model.ErrForbidden) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(invitedGap):
		}
	}
}
