package relay

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// A direct room of Rocket.Chat never takes another person in, and one of Matrix does.
// So a direct room of Matrix with more than two people is a private group in
// Rocket.Chat, from the beginning or from when somebody else comes.

const (
	// maxInTitle is how many people a group is called after.
	maxInTitle = 4
	// settleFor and settleGap bound how long a direct room is waited for in which
	// something is still on its way to Matrix.
	settleFor = 5 * time.Second
	settleGap = 100 * time.Millisecond
	// othersFollow is how long others may be asked into a new direct room after the
	// first one.
	othersFollow = 500 * time.Millisecond
	// unused is how old a direct room is that nobody can have begun to use.
	unused = 10 * time.Second
)

// company returns who is in a Matrix room or invited, by the names they have there,
// and whether those are more than the two of a direct conversation.
func (r *Relay) company(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (title string, many bool, err error) {
	members, err := r.MX.Members(ctx, room, reader)
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

// firstCompany is company for a direct room that has just come: who makes a room asks
// the others in one after the other.
func (r *Relay) firstCompany(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (title string, many bool, err error) {
	for range 2 {
		if title, many, err = r.company(ctx, room, reader); err != nil || many {
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

// widen makes sure that somebody has a place in the Rocket.Chat room of a portal that
// may be direct: where they have none there it goes on in a private group.
func (r *Relay) widen(ctx context.Context, p Portal, username string) (Portal, error) {
	if p.RCType != directRoom {
		return p, nil
	}
	err := r.alone("room "+string(p.MXRoom), func() error {
		now, ok, err := r.Store.PortalByMX(ctx, p.MXRoom)
		if err != nil || !ok || now.RCType != directRoom {
			p = now
			return err
		}
		names, err := r.RC.Usernames(ctx, p.RCRoom)
		if err != nil || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, username) }) {
			return err
		}
		p, err = r.regroup(ctx, p, names)
		return err
	})
	return p, err
}

// regroup lets a direct portal go on in a private group, with those who were in it.
func (r *Relay) regroup(ctx context.Context, old Portal, usernames []string) (Portal, error) {
	g, ok, err := r.Store.GhostByMX(ctx, r.reader(old))
	if err != nil || !ok {
		return old, err
	}
	owner, ok, err := r.RC.UserByID(ctx, g.RCUser)
	if err != nil || !ok {
		return old, err
	}
	if err := r.settle(ctx, RCLane(old.RCRoom)); err != nil {
		return old, err
	}
	title, _, err := r.company(ctx, old.MXRoom, r.reader(old))
	if err != nil {
		return old, err
	}
	info, err := r.RC.CreateGroup(ctx, title, owner, r.isFree(ctx))
	if err != nil {
		return old, err
	}
	p := old
	p.RCRoom, p.RCType, p.RCReader = info.ID, info.Type, ""
	for _, name := range usernames {
		who, ok, err := r.RC.UserByName(ctx, name)
		if err == nil && ok && who.ID != owner.ID && !r.RC.IsBridge(who.ID) {
			err = r.RC.Add(ctx, p, who.ID)
		}
		if err != nil {
			return old, err
		}
	}
	roster := queue.Item{ID: "roster " + string(p.MXRoom) + " " + string(p.RCRoom), Lane: MXLane(p.MXRoom), Kind: KindMXRoster, Payload: []byte(p.MXRoom)}
	cursors := map[string]string{RCCursor(p.RCRoom): strconv.FormatInt(time.Now().UnixMilli(), 10)}
	if err := r.Store.PutPortal(ctx, p, []queue.Item{roster}, cursors); err != nil {
		return old, err
	}
	r.Log.Info("a direct room goes on as a group", "rc_room", p.RCRoom, "was", old.RCRoom, "mx_room", p.MXRoom)
	r.RC.Unwatch(old)
	r.RC.Watch(p)
	r.Wake()
	if time.Since(old.Created) > unused {
		if err := r.sayInRocketChat(ctx, old, "This conversation has more people now and goes on in the group "+convert.Name(info.Title, "beside this")+"."); err != nil {
			r.Log.Warn("a word could not be said in Rocket.Chat", "rc_room", old.RCRoom, "err", err)
		}
	}
	return p, nil
}

// settle waits for a moment until nothing of a lane is on its way.
func (r *Relay) settle(ctx context.Context, lane string) error {
	for deadline := time.Now().Add(settleFor); ; {
		n, err := r.Store.Waiting(ctx, lane)
		if err != nil || n == 0 || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleGap):
		}
	}
}

// isFree returns whether a room is no portal's.
func (r *Relay) isFree(ctx context.Context) func(ids.RCRoom) (bool, error) {
	return func(room ids.RCRoom) (bool, error) {
		_, used, err := r.Store.PortalByRC(ctx, room)
		return !used, err
	}
}

// placeFor is widen for somebody who speaks. Who was found in a direct room once is
// not looked for again.
func (r *Relay) placeFor(ctx context.Context, p Portal, puppet Puppet) (Portal, error) {
	if p.RCType != directRoom || puppet.MXUser == p.RCReader {
		return p, nil
	}
	key := string(p.RCRoom) + " " + puppet.Username
	if _, ok := r.joined.Load(key); ok {
		return p, nil
	}
	p, err := r.widen(ctx, p, puppet.Username)
	if err == nil {
		r.joined.Store(key, struct{}{})
	}
	return p, err
}
