package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// send sends a message as a ghost, exactly once. A first attempt just sends. A
// later one looks first whether an earlier one arrived without our knowing:
// homeservers remember transaction IDs in memory only.
func (r *Relay) send(ctx context.Context, p Portal, as ids.MXUser, item queue.Item, source string, c convert.Content, at int64) (ids.MXEvent, error) {
	if item.Attempts > 0 {
		event, ok, err := r.MX.FindSent(ctx, p.MXRoom, r.reader(p), source)
		if err != nil || ok {
			return event, err
		}
	}
	r.spoke.Store(p.MXRoom, time.Now())
	txn := ids.Transaction(as, item.ID+" "+source, 0)
	event, err := r.MX.Send(ctx, p.MXRoom, as, txn, source, millis(at), c)
	if errors.Is(err, ErrForbidden) {
		// Known to be joined, but it is not: somebody removed the ghost, or the
		// homeserver lost the join. Try once more from the beginning.
		r.forgetJoined(p.MXRoom, as)
		if err := r.ensureJoined(ctx, p, as); err != nil {
			return "", err
		}
		event, err = r.MX.Send(ctx, p.MXRoom, as, txn, source, millis(at), c)
		if errors.Is(err, ErrForbidden) {
			return "", fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	return event, err
}

const (
	// mendFor is how long before somebody joins a message may have been sent
	// for their server to have missed it.
	mendFor = 2 * time.Minute
	// mendAfter gives a server time for its own joining: Dendrite refuses what
	// comes meanwhile, and then everything that builds on it.
	mendAfter = 3 * time.Second
)

// mend helps a server that somebody has just joined from: what was sent in the
// same moment has nothing after it that would make the server ask for it.
func (r *Relay) mend(ctx context.Context, p Portal) {
	at, ok := r.spoke.Load(p.MXRoom)
	if t, _ := at.(time.Time); !ok || time.Since(t) > mendFor {
		return
	}
	time.AfterFunc(mendAfter, func() {
		if later, ok := r.spoke.Load(p.MXRoom); !ok || later != at || ctx.Err() != nil {
			return // what was said since does the same
		}
		if err := r.MX.Mend(ctx, p.MXRoom, r.reader(p)); err != nil && ctx.Err() == nil {
			r.Log.Warn("a server may lack what was said while it joined", "mx_room", p.MXRoom, "err", err)
		}
	})
}

// memberToMatrix follows a change of membership in Rocket.Chat.
func (r *Relay) memberToMatrix(ctx context.Context, item queue.Item) error {
	m, p, ok, err := r.ofRocketChat(ctx, item)
	if err != nil || !ok {
		return err
	}
	switch m.Type {
	case "uj", "ut", "ujt": // u joined
		err = r.bringIn(ctx, p, person(m.User))
	case "ul", "ult": // u left
		err = r.takeOut(ctx, p, ids.RCUser(m.User.ID))
	case "au", "added-user-to-team": // u added the user named in the text
		err = r.added(ctx, p, person(m.User), m.Text)
	case "ru", "removed-user-from-team": // u removed the user named in the text
		err = r.removed(ctx, p, person(m.User), m.Text, r.MX.Kick)
	case "user-banned":
		err = r.removed(ctx, p, person(m.User), m.Text, r.MX.Ban)
	case "user-unbanned":
		err = r.removed(ctx, p, person(m.User), m.Text, r.MX.Unban)
	}
	return outcome(item, err, "the Matrix server refused it")
}

// bringIn makes the ghost of a member join.
func (r *Relay) bringIn(ctx context.Context, p Portal, who RCPerson) error {
	if mine, err := r.ours(ctx, who.ID); err != nil || mine || r.RC.IsBridge(who.ID) {
		return err
	}
	g, err := r.ghost(ctx, who)
	if err != nil {
		return err
	}
	return r.ensureJoined(ctx, p, g.MXUser)
}

// takeOut makes the ghost of somebody who has left leave too.
func (r *Relay) takeOut(ctx context.Context, p Portal, who ids.RCUser) error {
	g, ok, err := r.Store.GhostByRC(ctx, who)
	if err != nil || !ok {
		return err
	}
	if g.MXUser == p.MXReader {
		if p, _, err = r.handOver(ctx, p); err != nil {
			return err
		}
	}
	r.forgetJoined(p.MXRoom, g.MXUser)
	if err := r.MX.Leave(ctx, p.MXRoom, g.MXUser); err != nil && !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// added follows "by added username": a user of Rocket.Chat joins on Matrix, a
// puppet's person is invited there.
func (r *Relay) added(ctx context.Context, p Portal, by RCPerson, username string) error {
	puppet, isPuppet, err := r.Store.PuppetByUsername(ctx, username)
	if err != nil {
		return err
	}
	if isPuppet {
		if r.RC.IsBridge(by.ID) {
			return nil // our own doing
		}
		return r.addedPuppet(ctx, p, by, puppet)
	}
	who, ok, err := r.RC.UserByName(ctx, username)
	if err != nil || !ok {
		return err
	}
	return r.bringIn(ctx, p, who)
}

// addedPuppet invites the person of a puppet that somebody added to the room in
// Rocket.Chat. Where that cannot be, the puppet goes, and who added it is told.
func (r *Relay) addedPuppet(ctx context.Context, p Portal, by RCPerson, puppet Puppet) error {
	err := r.inviteAdded(ctx, p, by, puppet.MXUser)
	se, ok := errors.AsType[*SayError](err)
	if !ok {
		return err
	}
	if err := ignore(r.RC.Remove(ctx, p, puppet.RCUser), ErrNotFound); err != nil {
		return err
	}
	return r.RC.Tell(ctx, by, "Sorry: "+se.Text+".")
}

func (r *Relay) inviteAdded(ctx context.Context, p Portal, by RCPerson, target ids.MXUser) error {
	if err := r.mayTalk(target); err != nil {
		return err
	}
	if may, err := r.holds(ctx, r.Live().Permissions.Invite, by.ID, p); err != nil {
		return err
	} else if !may {
		return say("the administrator does not let you invite people from Matrix")
	}
	g, err := r.ghost(ctx, by)
	if err != nil {
		return err
	}
	if err := r.ensureJoined(ctx, p, g.MXUser); err != nil {
		return err
	}
	return r.invite(ctx, p, g.MXUser, target)
}

// removed follows "by removed username", or banned, or let come back: as who did
// it where they may on Matrix, else as who reads the room. Where nobody may, the
// person is let in again, so that both sides say the same.
func (r *Relay) removed(ctx context.Context, p Portal, by RCPerson, username string, how func(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error) error {
	puppet, isPuppet, err := r.Store.PuppetByUsername(ctx, username)
	if err != nil {
		return err
	}
	if !isPuppet {
		who, ok, err := r.RC.UserByName(ctx, username)
		if err != nil || !ok {
			return err
		}
		return r.takeOut(ctx, p, who.ID)
	}
	if mine, err := r.ours(ctx, by.ID); err != nil || mine || r.RC.IsBridge(by.ID) {
		return err
	}
	g, err := r.ghost(ctx, by)
	if err != nil {
		return err
	}
	err = how(ctx, p.MXRoom, g.MXUser, puppet.MXUser)
	if errors.Is(err, ErrForbidden) {
		err = how(ctx, p.MXRoom, r.reader(p), puppet.MXUser)
	}
	if !errors.Is(err, ErrForbidden) {
		return err
	}
	if err := r.RC.Add(ctx, p, puppet.RCUser); err != nil {
		return err
	}
	if err := r.RC.Tell(ctx, by, fmt.Sprintf("%s is back in the room: the room on Matrix does not allow you to remove people.", puppet.MXUser)); err != nil {
		r.Log.Warn("somebody could not be told", "user", by.ID, "err", err)
	}
	return nil
}

// takeOutStrangers makes the ghosts leave whose users are no members.
func (r *Relay) takeOutStrangers(ctx context.Context, p Portal, members []RCPerson) error {
	in := map[ids.RCUser]bool{}
	for _, m := range members {
		in[m.ID] = true
	}
	joined, err := r.MX.Members(ctx, p.MXRoom, r.reader(p))
	if err != nil {
		return err
	}
	for _, m := range joined {
		if m.Membership != "join" || !r.Names.Owns(m.User) || m.User == r.Names.BotUser() || m.User == r.reader(p) {
			continue
		}
		g, ok, err := r.Store.GhostByMX(ctx, m.User)
		if err != nil {
			return err
		}
		if ok && !in[g.RCUser] {
			if err := r.takeOut(ctx, p, g.RCUser); err != nil {
				return err
			}
		}
	}
	return nil
}

// rosterToMatrix makes the ghosts of everybody in a newly bridged room join, so
// that people on Matrix see who is listening.
func (r *Relay) rosterToMatrix(ctx context.Context, item queue.Item) error {
	p, ok, err := r.Store.PortalByRC(ctx, ids.RCRoom(item.Payload))
	if err != nil || !ok {
		return err
	}
	members, err := r.RC.Members(ctx, p)
	if err != nil {
		return outcome(item, err, "")
	}
	for _, who := range members {
		if err := r.bringIn(ctx, p, who); err != nil {
			if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
				return outcome(item, err, "")
			}
			r.Log.Warn("a member could not join on Matrix", "user", who.ID, "room", p.MXRoom, "err", err)
		}
	}
	if info, ok, err := r.RC.Room(ctx, p.RCRoom); err == nil && ok && p.RCType != directRoom {
		if err := r.pictureToMatrix(ctx, p, r.reader(p), info); err != nil {
			r.Log.Warn("a room's picture could not be copied", "room", p.MXRoom, "err", err)
		}
	}
	return outcome(item, r.takeOutStrangers(ctx, p, members), "")
}
