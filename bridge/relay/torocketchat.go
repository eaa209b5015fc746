package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// messageToRocketChat delivers what somebody wrote on Matrix. Message IDs are
// derived from the event's, so every step may be repeated.
func (r *Relay) messageToRocketChat(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	e, p, ok, err := r.ofMatrix(ctx, item)
	if err != nil || !ok {
		return nil, err // nobody bridges this room
	}
	if linked, err := r.Store.MessageLinked(ctx, ids.MXEvent(e.ID)); err != nil || linked {
		return nil, err
	}
	if again, err := r.cameFromHere(ctx, e); err != nil || again {
		return nil, err
	}
	if err := r.admit(item, ids.MXUser(e.Sender)); err != nil {
		return nil, err
	}
	puppet, err := r.speaker(ctx, p, ids.MXUser(e.Sender))
	if err != nil {
		return nil, outcome(item, err, "Rocket.Chat did not accept an account for you")
	}
	if p, err = r.placeFor(ctx, p, puppet); err != nil {
		return nil, outcome(item, err, "Rocket.Chat refused it")
	}
	if e.Content.Replaces != "" {
		// An edit can be taken back; by then its event says nothing any more.
		if err := r.Store.PutEdit(ctx, ids.MXEvent(e.ID), ids.MXEvent(e.Content.Replaces)); err != nil {
			return nil, err
		}
		return r.editInRocketChat(ctx, item, p, puppet, e)
	}
	thread, err := r.messageOf(ctx, p, ids.MXEvent(e.Content.Thread))
	if err != nil {
		return nil, err
	}
	if e.HasFile() {
		return r.mediaToRocketChat(ctx, item, p, puppet, e, thread)
	}
	parts := convert.ToRocketChat(e, r.namesInEvent(ctx, p, e))
	receipts := make([]queue.Receipt, len(parts))
	for i, text := range parts {
		id := ids.MessageFor(p.MXRoom, ids.MXEvent(e.ID), i)
		if err := r.say(ctx, p, puppet, id, thread, text); err != nil {
			return nil, outcome(item, err, "Rocket.Chat refused it")
		}
		receipts[i] = queue.Receipt{Part: i, RCRoom: string(p.RCRoom), RCMessage: string(id), MXRoom: e.Room, MXEvent: e.ID, MXSender: e.Sender}
	}
	r.toBeRead(p, ids.MXEvent(e.ID))
	r.MX.Follow(p.MXReader)
	return receipts, nil
}

// speaker returns the puppet of a person who speaks in a portal's room. A direct room
// has the people it began with: nobody else gets an account for it.
func (r *Relay) speaker(ctx context.Context, p Portal, user ids.MXUser) (Puppet, error) {
	if p.RCType == directRoom {
		puppet, ok, err := r.Store.PuppetByMX(ctx, user)
		if err == nil && !ok {
			err = ErrOutsider
		}
		return puppet, err
	}
	return r.puppet(ctx, user, "")
}

// messageOf returns the message that an event is in Rocket.Chat, in this room.
func (r *Relay) messageOf(ctx context.Context, p Portal, event ids.MXEvent) (ids.RCMessage, error) {
	if event == "" {
		return "", nil
	}
	links, err := r.Store.LinksByEvent(ctx, event)
	if err != nil || len(links) == 0 || links[0].RCRoom != string(p.RCRoom) {
		return "", err
	}
	return ids.RCMessage(links[0].RCMessage), nil
}

// permalink is how Rocket.Chat finds the message that is quoted.
func (r *Relay) permalink(p Portal, message ids.RCMessage) string {
	kind := map[string]string{rocketchat.Channel: "channel", rocketchat.Direct: "direct"}[p.RCType]
	if kind == "" {
		kind = "group"
	}
	return r.Site + "/" + kind + "/" + string(p.RCRoom) + "?msg=" + string(message)
}

// editInRocketChat delivers a new version of somebody's message, part by part:
// parts that are new are sent, and parts that are no more are deleted.
func (r *Relay) editInRocketChat(ctx context.Context, item queue.Item, p Portal, puppet Puppet, e convert.Event) ([]queue.Receipt, error) {
	target := ids.MXEvent(e.Content.Replaces)
	old, err := r.Store.LinksByEvent(ctx, target)
	if err != nil || len(old) == 0 || old[0].MXSender != e.Sender || old[0].RCRoom != string(p.RCRoom) {
		return nil, err // it never crossed, or is somebody else's
	}
	old = slices.DeleteFunc(old, func(l queue.Receipt) bool { return l.Part >= latePart })
	_, file, err := r.Store.File(ctx, MXFile(target))
	if err != nil {
		return nil, err
	}
	look := r.namesInEvent(ctx, p, e)
	parts := convert.ToRocketChat(e, look)
	if file {
		if parts = convert.Caption(e, look); len(parts) == 0 {
			parts = []string{""} // the caption is gone, the file stays
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	var receipts []queue.Receipt
	for i, text := range parts {
		if i < len(old) {
			if err := r.RC.Edit(ctx, puppet, p.RCRoom, ids.RCMessage(old[i].RCMessage), text); ignore(err, ErrNotFound) != nil {
				return nil, outcome(item, err, "Rocket.Chat refused the edit")
			}
			continue
		}
		id := ids.MessageFor(p.MXRoom, ids.MXEvent(e.ID), i)
		if err := r.say(ctx, p, puppet, id, "", text); err != nil {
			return nil, outcome(item, err, "Rocket.Chat refused the edit")
		}
		receipts = append(receipts, queue.Receipt{Part: i, RCRoom: string(p.RCRoom), RCMessage: string(id), MXRoom: e.Room, MXEvent: string(target), MXSender: e.Sender})
	}
	for _, l := range old[min(len(parts), len(old)):] {
		if err := r.deleteInRocketChat(ctx, l); err != nil {
			return nil, outcome(item, err, "")
		}
		if err := r.Store.DropLink(ctx, l); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}

// say sends as a puppet, and lets it into the room first when it is outside.
func (r *Relay) say(ctx context.Context, p Portal, puppet Puppet, id, thread ids.RCMessage, text string) error {
	err := r.RC.Send(ctx, puppet, p.RCRoom, id, thread, text)
	if !errors.Is(err, ErrForbidden) {
		return err
	}
	if p.RCType == directRoom {
		return errors.Join(ErrOutsider, err)
	}
	if err := r.RC.Add(ctx, p, puppet.RCUser); err != nil {
		return err
	}
	if err := r.RC.Send(ctx, puppet, p.RCRoom, id, thread, text); errors.Is(err, ErrForbidden) {
		return errors.Join(ErrRefused, err)
	} else if err != nil {
		return err
	}
	return nil
}

// memberToRocketChat follows a change of membership on Matrix.
func (r *Relay) memberToRocketChat(ctx context.Context, item queue.Item) error {
	e, p, ok, err := r.ofMatrix(ctx, item)
	if err != nil || !ok {
		return err
	}
	user := ids.MXUser(e.StateKey)
	if r.Names.Owns(user) {
		return outcome(item, r.ghostRemoved(ctx, p, user, e), "Rocket.Chat refused it")
	}
	switch e.Content.Membership {
	case "join":
		r.mend(ctx, p)
		if !r.allowed(user) {
			return nil // may be there, but not here
		}
		err = r.joinedOnMatrix(ctx, p, user, e.Content.Name)
		if changed, perr := r.portraitChanged(ctx, user, item.Payload); err == nil && perr == nil && changed {
			err = r.Accept(ctx, []queue.Item{MXPersonItem(user, item.ID)}, nil)
		}
	case "leave", "ban":
		puppet, known, perr := r.Store.PuppetByMX(ctx, user)
		if err = perr; err == nil && known && p.RCType != directRoom {
			err = r.RC.Remove(ctx, p, puppet.RCUser)
		}
	}
	if errors.Is(err, ErrNotFound) {
		err = nil // not a member, or no such room: as wanted
	}
	return outcome(item, err, "Rocket.Chat refused it")
}

// joinedOnMatrix lets a person who has joined on Matrix into the Rocket.Chat room. A
// direct room takes nobody in: its people are told that there is another reader, and
// the conversation goes on as a group.
func (r *Relay) joinedOnMatrix(ctx context.Context, p Portal, user ids.MXUser, name string) error {
	if p.RCType != directRoom {
		puppet, err := r.puppet(ctx, user, name)
		if err != nil {
			return err
		}
		return r.RC.Add(ctx, p, puppet.RCUser)
	}
	puppet, known, err := r.Store.PuppetByMX(ctx, user)
	if err != nil {
		return err
	}
	usernames, err := r.RC.Usernames(ctx, p.RCRoom)
	if err != nil {
		return err
	}
	if known && slices.Contains(usernames, puppet.Username) {
		_, err := r.puppet(ctx, user, name)
		return err
	}
	if err := r.tellOfReader(ctx, p, user); err != nil {
		return err
	}
	if puppet, err = r.puppet(ctx, user, name); err != nil {
		return err
	}
	if p, err = r.widen(ctx, p, puppet.Username); err != nil || p.RCType == directRoom {
		return err
	}
	return r.RC.Add(ctx, p, puppet.RCUser)
}

// tellOfReader tells the Rocket.Chat users of a direct room that a person on Matrix
// reads it who is not in it here.
func (r *Relay) tellOfReader(ctx context.Context, p Portal, user ids.MXUser) error {
	locals, _, err := r.whoIsIn(ctx, p.RCRoom)
	if err != nil {
		return err
	}
	for _, who := range locals {
		if err := r.RC.Tell(ctx, who, fmt.Sprintf("%s joined your direct conversation with %s on Matrix and can read it from now on.", user, p.RCReader)); err != nil {
			return err
		}
	}
	return nil
}

// ghostRemoved follows when somebody on Matrix removes or bans one of ours: the
// user leaves the Rocket.Chat room too, and is told by whom.
func (r *Relay) ghostRemoved(ctx context.Context, p Portal, ghost ids.MXUser, e convert.Event) error {
	r.forgetJoined(p.MXRoom, ghost)
	if e.Content.Membership != "leave" && e.Content.Membership != "ban" || p.RCType == directRoom {
		return nil
	}
	g, ok, err := r.Store.GhostByMX(ctx, ghost)
	if err != nil || !ok {
		return err
	}
	who, ok, err := r.RC.UserByID(ctx, g.RCUser)
	if err != nil || !ok {
		return err
	}
	info, _, err := r.RC.Room(ctx, p.RCRoom)
	if err != nil {
		return err
	}
	if err := r.RC.Remove(ctx, p, g.RCUser); err != nil {
		return ignore(err, ErrNotFound) // was not there
	}
	verb := map[string]string{"leave": "removed", "ban": "banned"}[e.Content.Membership]
	if err := r.RC.Tell(ctx, who, fmt.Sprintf("%s %s you on Matrix from %s.", e.Sender, verb, roomLabel(info))); err != nil {
		r.Log.Warn("somebody could not be told", "user", who.ID, "err", err)
	}
	return nil
}

// rosterToRocketChat lets everybody in who is in a newly bridged Matrix room.
func (r *Relay) rosterToRocketChat(ctx context.Context, item queue.Item) error {
	p, ok, err := r.Store.PortalByMX(ctx, ids.MXRoom(item.Payload))
	if err != nil || !ok {
		return err
	}
	members, err := r.MX.Members(ctx, p.MXRoom, r.reader(p))
	if err != nil {
		return outcome(item, err, "")
	}
	for _, m := range members {
		if m.Membership != "join" || r.Names.Owns(m.User) {
			continue
		}
		puppet, err := r.puppet(ctx, m.User, m.Name)
		if err == nil && p.RCType != directRoom {
			err = r.RC.Add(ctx, p, puppet.RCUser)
		}
		if err != nil && (errors.Is(err, ErrUnavailable) || ctx.Err() != nil) {
			return outcome(item, err, "")
		}
		if err != nil {
			r.Log.Warn("a member could not join in Rocket.Chat", "user", m.User, "room", p.RCRoom, "err", err)
		}
	}
	return outcome(item, r.startState(ctx, p), "")
}
