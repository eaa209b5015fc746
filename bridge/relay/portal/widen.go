package portal

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

const (
	// maxInTitle is how many people a group is named after.
	maxInTitle = 4
	// othersFollow is how long after the first invitation to a new direct room
	// others may follow.
	othersFollow = 500 * time.Millisecond
	// unused is the age up to which nobody can have begun to use a direct room.
	unused = 10 * time.Second
)

// Nobody can be added to a direct room of Rocket.Chat, but people can be added to one of
// Matrix. So a direct room of Matrix with more than two people is a private group in
// Rocket.Chat, from the start or from when another person joins.

// Widen makes sure that a person can be in the Rocket.Chat room of a portal. A direct
// room that the person is not in becomes a private group.
func (ps *Portals) Widen(ctx context.Context, p model.Portal, username string) (model.Portal, error) {
	if !p.IsDirect() {
		return p, nil
	}
	err := ps.Locks.Do("room "+string(p.MXRoom), func() error {
		now, ok, err := ps.Store.PortalByMX(ctx, p.MXRoom)
		if err != nil || !ok || !now.IsDirect() {
			p = now
			return err
		}
		names, err := ps.RC.Usernames(ctx, p.RCRoom)
		if err != nil || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, username) }) {
			return err
		}
		p, err = ps.regroup(ctx, p, names)
		return err
	})
	return p, err
}

// PlaceFor is Widen for a sender. It caches who was found in a direct room.
func (ps *Portals) PlaceFor(ctx context.Context, p model.Portal, puppet model.Puppet) (model.Portal, error) {
	if !p.IsDirect() || puppet.MXUser == p.RCReader {
		return p, nil
	}
	key := string(p.RCRoom) + " " + puppet.Username
	if _, ok := ps.placed.Load(key); ok {
		return p, nil
	}
	p, err := ps.Widen(ctx, p, puppet.Username)
	if err == nil {
		ps.placed.Store(key, struct{}{})
	}
	return p, err
}

// regroup moves a direct portal to a private group with the same people.
func (ps *Portals) regroup(ctx context.Context, old model.Portal, usernames []string) (model.Portal, error) {
	g, ok, err := ps.Store.GhostByMX(ctx, old.Reader(ps.Names))
	if err != nil || !ok {
		return old, err
	}
	owner, ok, err := ps.RC.UserByID(ctx, g.RCUser)
	if err != nil || !ok {
		return old, err
	}
	if err := ps.settle(ctx, model.RCLane(old.RCRoom)); err != nil {
		return old, err
	}
	title, _, err := ps.company(ctx, old.MXRoom, old.Reader(ps.Names))
	if err != nil {
		return old, err
	}
	info, err := ps.RC.CreateGroup(ctx, title, owner, ps.isFree(ctx))
	if err != nil {
		return old, err
	}
	p := old
	p.RCRoom, p.RCType, p.RCReader = info.ID, info.Type, ""
	for _, name := range usernames {
		who, ok, err := ps.RC.UserByName(ctx, name)
		if err == nil && ok && who.ID != owner.ID && !ps.RC.IsBridge(who.ID) {
			err = ps.RC.Add(ctx, p, who.ID)
		}
		if err != nil {
			return old, err
		}
	}
	everybody := model.MXMembershipItem(string(p.MXRoom)+" "+string(p.RCRoom), p.MXRoom)
	cursors := map[string]string{model.RCCursor(p.RCRoom): strconv.FormatInt(ps.now().UnixMilli(), 10)}
	if err := ps.Store.PutPortal(ctx, p, []queue.Item{everybody}, cursors); err != nil {
		return old, err
	}
	ps.Log.Info("a direct room continues as a group", "rc_room", p.RCRoom, "rc_room_before", old.RCRoom, "mx_room", p.MXRoom)
	ps.RC.Unwatch(old)
	ps.RC.Watch(p)
	ps.Wake()
	if ps.now().Sub(old.Created) > unused {
		if err := ps.Notices.InRocketChat(ctx, old, "This conversation has more people now and continues in the group "+convert.Name(info.Title, "beside this")+"."); err != nil {
			ps.Log.Warn("a notice could not be sent to Rocket.Chat", "rc_room", old.RCRoom, "err", err)
		}
	}
	return p, nil
}

// company returns a title made of the names of the people who are in a Matrix room or
// invited, and whether there are more than two.
func (ps *Portals) company(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (title string, many bool, err error) {
	members, err := ps.MX.Members(ctx, room, reader)
	if err != nil {
		return "", false, err
	}
	var names []string
	for _, m := range members {
		if m.Membership == "join" || m.Membership == "invite" {
			names = append(names, convert.Name(m.Name, m.User.Localpart()))
		}
	}
	slices.Sort(names)
	if many = len(names) > 2; len(names) > maxInTitle {
		names = append(names[:maxInTitle], "and more")
	}
	return strings.Join(names, " "), many, nil
}

// firstCompany is company for a new direct room: its creator invites people one after
// another, so it waits a moment for more than two.
func (ps *Portals) firstCompany(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (title string, many bool, err error) {
	for range 2 {
		if title, many, err = ps.company(ctx, room, reader); err != nil || many {
			break
		}
		select {
		case <-ctx.Done():
			return "", false, ctx.Err()
		case <-time.After(othersFollow):
		}
	}
	return title, many, err
}
