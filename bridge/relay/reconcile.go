package relay

import (
	"context"
	"errors"
	"time"

	"appliance/bridge/ids"
)

// What a bridge was told is not all that has happened: system messages can be
// hidden, a server can be away when somebody leaves, an account can be
// deactivated. So every room is looked at once in a while, and who is shown on one
// side and is not there on the other is put right. What is different is put right
// only when it still is at the second look: things are always under way.
const (
	reconcilePause = 10 * time.Minute // between two passes
	reconcileGap   = 500 * time.Millisecond
)

// suspects are the differences that were seen in the last pass.
type suspects map[string]bool

// reconcileAll goes through all rooms until ctx ends.
func (r *Relay) reconcileAll(ctx context.Context) error {
	pause, gap := reconcilePause, reconcileGap
	if r.ReconcileEvery > 0 {
		pause, gap = r.ReconcileEvery, 0
	}
	var before suspects
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if !r.Live().Enabled {
			continue
		}
		portals, err := r.Store.Portals(ctx)
		if err != nil {
			r.Log.Warn("the rooms could not be read to compare them", "err", err)
			continue
		}
		now := suspects{}
		for _, p := range portals {
			one, cancel := context.WithTimeout(ctx, time.Minute)
			if err := r.reconcile(one, p, before, now); err != nil && ctx.Err() == nil {
				r.Log.Warn("a room could not be compared", "rc_room", p.RCRoom, "mx_room", p.MXRoom, "err", err)
			}
			cancel()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(gap):
			}
		}
		before = now
	}
}

// reconcile compares who is in a room on both sides.
func (r *Relay) reconcile(ctx context.Context, p Portal, before, now suspects) error {
	if p.RCType == directRoom {
		return nil // who is in it never changes
	}
	// still reports whether a difference was there at the last look too.
	still := func(what string) bool {
		key := string(p.MXRoom) + " " + what
		now[key] = true
		return before[key]
	}
	switch _, there, err := r.RC.Room(ctx, p.RCRoom); {
	case err != nil:
		return err
	case !there && still("gone"):
		return r.end(ctx, p, "This room is not there any more in Rocket.Chat, so nothing is carried there.")
	case !there:
		return nil
	}
	if err := r.tighten(ctx, p); err != nil {
		return err
	}
	here, err := r.RC.Members(ctx, p)
	if err != nil {
		return err
	}
	there, err := r.MX.Members(ctx, p.MXRoom, r.reader(p))
	if err != nil {
		return err
	}
	members := map[ids.RCUser]RCPerson{}
	for _, m := range here {
		members[m.ID] = m
	}
	status := map[ids.MXUser]MXMember{}
	for _, m := range there {
		status[m.User] = m
	}
	var errs []error
	for _, who := range here {
		errs = append(errs, r.reconcileHere(ctx, p, who, status, still))
	}
	for _, m := range there {
		errs = append(errs, r.reconcileThere(ctx, p, m, members, still))
	}
	return errors.Join(errs...)
}

// reconcileHere puts right what somebody in the Rocket.Chat room is on Matrix.
func (r *Relay) reconcileHere(ctx context.Context, p Portal, who RCPerson, status map[ids.MXUser]MXMember, still func(string) bool) error {
	if r.RC.IsBridge(who.ID) {
		return nil
	}
	puppet, remote, err := r.Store.PuppetByRC(ctx, who.ID)
	if err != nil {
		return err
	}
	if remote {
		switch status[puppet.MXUser].Membership {
		case "join", "invite", "knock":
			return nil
		}
		if !still("out " + string(who.ID)) {
			return nil
		}
		r.Log.Info("somebody was shown in Rocket.Chat who is not in the room", "user", puppet.MXUser, "rc_room", p.RCRoom)
		return ignore(r.RC.Remove(ctx, p, who.ID), ErrNotFound)
	}
	g, known, err := r.Store.GhostByRC(ctx, who.ID)
	if err != nil {
		return err
	}
	if m := status[g.MXUser].Membership; known && (m == "join" || m == "ban") {
		return nil
	}
	if !still("in " + string(who.ID)) {
		return nil
	}
	r.Log.Info("somebody was missing on Matrix", "user", who.ID, "mx_room", p.MXRoom)
	r.forgetJoined(p.MXRoom, g.MXUser)
	return ignore(r.bringIn(ctx, p, who), ErrForbidden)
}

// reconcileThere puts right what somebody in the Matrix room is in Rocket.Chat.
func (r *Relay) reconcileThere(ctx context.Context, p Portal, m MXMember, members map[ids.RCUser]RCPerson, still func(string) bool) error {
	if m.Membership != "join" || m.User == r.Names.BotUser() {
		return nil
	}
	if r.Names.Owns(m.User) {
		g, known, err := r.Store.GhostByMX(ctx, m.User)
		if err != nil || !known {
			return err
		}
		if _, here := members[g.RCUser]; here || !still("gone "+string(g.RCUser)) {
			return nil
		}
		r.Log.Info("somebody was shown on Matrix who is not in the room", "user", g.RCUser, "mx_room", p.MXRoom)
		return r.takeOut(ctx, p, g.RCUser)
	}
	if !r.allowed(m.User) {
		return nil
	}
	puppet, known, err := r.Store.PuppetByMX(ctx, m.User)
	if err != nil {
		return err
	}
	if _, here := members[puppet.RCUser]; (known && here) || !still("new "+string(m.User)) {
		return nil
	}
	r.Log.Info("somebody was missing in Rocket.Chat", "user", m.User, "rc_room", p.RCRoom)
	if puppet, err = r.puppet(ctx, m.User, m.Name); err != nil {
		return err
	}
	return r.RC.Add(ctx, p, puppet.RCUser)
}

// handOver gives the reading of a room to another ghost before its reader leaves.
// It reports false when there is nobody else.
func (r *Relay) handOver(ctx context.Context, p Portal) (Portal, bool, error) {
	members, err := r.MX.Members(ctx, p.MXRoom, p.MXReader)
	if err != nil {
		return p, false, err
	}
	for _, m := range members {
		if m.Membership != "join" || m.User == p.MXReader || !r.Names.Owns(m.User) {
			continue
		}
		p.MXReader = m.User
		if m.User == r.Names.BotUser() {
			p.MXReader = ""
		}
		if err := r.Store.PutPortal(ctx, p, nil, nil); err != nil {
			return p, false, err
		}
		r.MX.Follow(p.MXReader)
		return p, true, nil
	}
	return p, false, nil
}
