package membership

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
)

// The bridge is not notified of everything: system messages can be hidden, a server can
// be down when a person leaves, an account can be deactivated. A homeserver may also
// silently revoke a membership when it resolves conflicting versions of a room's state.
// So the members of every room are compared periodically. A difference is corrected when
// two comparisons in a row find it, because changes are always in flight. Differences
// come in bursts, as after an outage, and some only minutes later: Dendrite takes in some
// events again after five. So rounds come soon after the start and after a round that
// found something new, and then at growing intervals.
const (
	reconcilePause = 10 * time.Minute // between two rounds
	reconcileSoon  = time.Minute      // until the first round, and the one after a round that found something new
	reconcileAgain = 30 * time.Second // until the rooms that differ are compared again
	reconcileGap   = 500 * time.Millisecond
	lookAgain      = 2 * time.Second // between the two comparisons that the operator requests
)

// Reconciler periodically compares the rooms of both sides.
type Reconciler struct {
	Store      reconcileStore
	RC         reconcileRocketChat
	MX         reconcileMatrix
	Names      ids.Namespace
	Log        *slog.Logger
	Members    *Members
	Admission  *people.Admission
	People     *people.People
	Joined     *people.Joined
	Every      time.Duration // between two rounds; 0 means the default
	Live       func() config.Live
	Portals    *portal.Portals
	Tightening *portal.Tightening
}

// Run compares all rooms until ctx ends, first soon after its start and then
// periodically. Rooms that differ are compared again soon.
func (rec *Reconciler) Run(ctx context.Context) error {
	pause, soon, again, gap := reconcilePause, reconcileSoon, reconcileAgain, reconcileGap
	if rec.Every > 0 {
		pause, soon, again, gap = rec.Every, rec.Every, rec.Every, 0
	}
	usual := pause
	pause = soon // much may have gone wrong while the bridge was down
	var before suspects
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if !rec.Live().Enabled {
			continue
		}
		portals, err := rec.Store.Portals(ctx)
		if err != nil {
			rec.Log.Warn("the rooms could not be read to compare them", "err", err)
			continue
		}
		begun := time.Now()
		now, differ := rec.pass(ctx, portals, before, gap)
		pause = min(usual, 2*pause)
		if now.more(before) { // a round may take long; rounds take at most half of the time
			pause = min(usual, max(soon, time.Since(begun)))
		}
		if len(differ) > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(again):
			}
			now, _ = rec.pass(ctx, differ, now, gap)
		}
		before = now
	}
}

// pass compares rooms, with a gap between them, and corrects differences that were there
// before. It returns the differences, and the rooms that have any.
func (rec *Reconciler) pass(ctx context.Context, portals []model.Portal, before suspects, gap time.Duration) (now suspects, differ []model.Portal) {
	now = suspects{}
	for _, p := range portals {
		known := len(now)
		one, cancel := context.WithTimeout(ctx, time.Minute)
		if err := rec.reconcile(one, p, before, now); err != nil && ctx.Err() == nil {
			rec.Log.Warn("a room could not be compared", "rc_room", p.RCRoom, "mx_room", p.MXRoom, "err", err)
		}
		cancel()
		if len(now) > known {
			differ = append(differ, p)
		}
		select {
		case <-ctx.Done():
			return now, differ
		case <-time.After(gap):
		}
	}
	return now, differ
}

// Now compares one room twice, a moment apart, and corrects what differs both times. It
// returns the number of those differences.
func (rec *Reconciler) Now(ctx context.Context, p model.Portal) (corrected int, err error) {
	first, second := suspects{}, suspects{}
	if err := rec.reconcile(ctx, p, nil, first); err != nil || len(first) == 0 {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(lookAgain):
	}
	err = rec.reconcile(ctx, p, first, second)
	for what := range second {
		if first[what] {
			corrected++
		}
	}
	return corrected, err
}

// reconcile compares the members of a room on both sides.
func (rec *Reconciler) reconcile(ctx context.Context, p model.Portal, before, now suspects) error {
	if p.IsDirect() {
		return nil // who is in it never changes
	}
	// A pending item may be about to bring in all members, which takes minutes if there
	// are many. A homeserver refuses some members that are brought in from two sides.
	toMatrix, toRocketChat := model.RCMembershipItem("", p.RCRoom), model.MXMembershipItem("", p.MXRoom)
	if awaited, err := rec.Store.Awaited(ctx, toMatrix.Lane, toMatrix.Kind); err != nil || awaited {
		return err
	}
	if awaited, err := rec.Store.Awaited(ctx, toRocketChat.Lane, toRocketChat.Kind); err != nil || awaited {
		return err
	}
	// still records a difference, and reports whether the last comparison found it too.
	still := func(what string) bool {
		key := string(p.MXRoom) + " " + what
		now[key] = true
		return before[key]
	}
	switch info, there, err := rec.RC.Room(ctx, p.RCRoom); {
	case err != nil:
		return err
	case there && info.Title != p.Title:
		if err := rec.Store.SetTitle(ctx, p.RCRoom, info.Title); err != nil {
			return err
		}
	case !there && still("gone"):
		return rec.Portals.TearDown(ctx, p, "This room no longer exists in Rocket.Chat, so nothing is carried there.")
	case !there:
		return nil
	}
	if err := rec.Tightening.Tighten(ctx, p); err != nil {
		return err
	}
	here, err := rec.RC.Members(ctx, p)
	if err != nil {
		return err
	}
	if p, err = rec.replaceReader(ctx, p, here); err != nil {
		return err
	}
	there, err := rec.MX.Members(ctx, p.MXRoom, p.Reader(rec.Names))
	if err != nil {
		return err
	}
	members := map[ids.RCUser]model.RCPerson{}
	for _, m := range here {
		members[m.ID] = m
	}
	status := map[ids.MXUser]model.MXMember{}
	for _, m := range there {
		status[m.User] = m
	}
	var errs []error
	for _, who := range here {
		errs = append(errs, rec.reconcileHere(ctx, p, who, status, still))
	}
	for _, m := range there {
		errs = append(errs, rec.reconcileThere(ctx, p, m, members, still))
	}
	return errors.Join(errs...)
}

// maxReaders bounds how many members are tried as the reader of a room in one comparison.
const maxReaders = 20

// replaceReader makes a member of a room its reader if its reader is no longer there.
func (rec *Reconciler) replaceReader(ctx context.Context, p model.Portal, here []model.RCPerson) (model.Portal, error) {
	if p.MXReader == "" {
		return p, nil
	}
	is, err := model.MembershipOf(ctx, rec.MX, p, rec.Names, p.MXReader)
	if err = model.Ignore(err, model.ErrForbidden, model.ErrNotFound); err != nil || is == "join" {
		return p, err
	}
	for _, who := range here[:min(len(here), maxReaders)] {
		g, known, err := rec.Store.GhostByRC(ctx, who.ID)
		if err != nil {
			return p, err
		}
		if !known || g.MXUser == p.MXReader {
			continue
		}
		next, err := rec.Portals.TakeOver(ctx, p, g.MXUser)
		if err != nil {
			return p, err
		}
		if next.MXReader != p.MXReader {
			rec.Log.Info("another user reads a room whose reader is no longer there", "mx_room", p.MXRoom, "mx_user", next.MXReader)
			return next, nil
		}
	}
	return p, nil
}

// reconcileHere corrects the differences of a member of the Rocket.Chat room.
func (rec *Reconciler) reconcileHere(ctx context.Context, p model.Portal, who model.RCPerson, status map[ids.MXUser]model.MXMember, still func(string) bool) error {
	if rec.RC.IsBridge(who.ID) {
		return nil
	}
	puppet, remote, err := rec.Store.PuppetByRC(ctx, who.ID)
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
		rec.Log.Info("a member who has left on Matrix was removed in Rocket.Chat", "mx_user", puppet.MXUser, "rc_room", p.RCRoom)
		return model.Ignore(rec.RC.Remove(ctx, p, who.ID), model.ErrNotFound)
	}
	g, known, err := rec.Store.GhostByRC(ctx, who.ID)
	if err != nil {
		return err
	}
	if m := status[g.MXUser].Membership; known && (m == "join" || m == "ban") {
		return nil
	}
	if !still("in " + string(who.ID)) {
		return nil
	}
	rec.Log.Info("a member was missing on Matrix", "rc_user", who.ID, "mx_room", p.MXRoom)
	rec.Joined.Forget(p.MXRoom, g.MXUser)
	return model.Ignore(rec.Joined.BringIn(ctx, p, who), model.ErrForbidden)
}

// reconcileThere corrects the differences of a member of the Matrix room.
func (rec *Reconciler) reconcileThere(ctx context.Context, p model.Portal, m model.MXMember, members map[ids.RCUser]model.RCPerson, still func(string) bool) error {
	if m.Membership != "join" || m.User == rec.Names.BotUser() {
		return nil
	}
	if rec.Names.Owns(m.User) {
		g, known, err := rec.Store.GhostByMX(ctx, m.User)
		if err != nil || !known {
			return err
		}
		if _, here := members[g.RCUser]; here || !still("gone "+string(g.RCUser)) {
			return nil
		}
		rec.Log.Info("a member who has left in Rocket.Chat was removed on Matrix", "rc_user", g.RCUser, "mx_room", p.MXRoom)
		return rec.Members.TakeOut(ctx, p, g.RCUser)
	}
	if !rec.Admission.Allows(m.User) {
		return nil
	}
	puppet, known, err := rec.Store.PuppetByMX(ctx, m.User)
	if err != nil {
		return err
	}
	if _, here := members[puppet.RCUser]; (known && here) || !still("new "+string(m.User)) {
		return nil
	}
	rec.Log.Info("a member was missing in Rocket.Chat", "mx_user", m.User, "rc_room", p.RCRoom)
	if puppet, err = rec.People.Puppet(ctx, m.User, m.Name); err != nil {
		return err
	}
	return rec.RC.Add(ctx, p, puppet.RCUser)
}

// suspects are the differences found in the last pass.
type suspects map[string]bool

// more reports whether there are differences that were not there before.
func (s suspects) more(before suspects) bool {
	for what := range s {
		if !before[what] {
			return true
		}
	}
	return false
}
