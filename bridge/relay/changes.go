package relay

import (
	"context"
	"errors"
	"fmt"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// deleteOnMatrix takes back the events of a message that was deleted.
func (r *Relay) deleteOnMatrix(ctx context.Context, item queue.Item) error {
	m, err := convert.ParseMessage(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	links, err := r.Store.LinksByMessage(ctx, ids.RCMessage(m.ID))
	if err != nil || len(links) == 0 {
		return err // never crossed
	}
	p, ok, err := r.Store.PortalByMX(ctx, ids.MXRoom(links[0].MXRoom))
	if err != nil || !ok {
		return err
	}
	as, err := r.whoTakesBack(ctx, p, ids.MXUser(links[0].MXSender))
	if err != nil {
		return outcome(item, err, "")
	}
	for _, l := range links {
		if err := r.redact(ctx, p, as, ids.MXEvent(l.MXEvent), item.ID); err != nil {
			return outcome(item, err, "")
		}
	}
	return nil
}

// whoTakesBack returns who redacts what a sender sent: the sender, unless the
// account is gone, with all its messages. Then the ghost leaves its rooms in the
// same moment, and other servers would not believe what it does there.
func (r *Relay) whoTakesBack(ctx context.Context, p Portal, sender ids.MXUser) (ids.MXUser, error) {
	g, ok, err := r.Store.GhostByMX(ctx, sender)
	if err != nil || !ok {
		return sender, err
	}
	if _, ok, err = r.RC.UserByID(ctx, g.RCUser); err != nil || ok {
		return sender, err
	}
	return r.reader(p), nil
}

// redact takes an event back as its sender, where that is one of ours, and
// otherwise as whoever of ours may. Where nobody may, it stays.
func (r *Relay) redact(ctx context.Context, p Portal, sender ids.MXUser, event ids.MXEvent, item string) error {
	as := r.reader(p)
	if r.Names.Owns(sender) {
		as = sender
	}
	err := r.MX.Redact(ctx, p.MXRoom, as, event, ids.Transaction(as, item+" "+string(event), 0))
	if errors.Is(err, ErrForbidden) && as != r.reader(p) {
		as = r.reader(p)
		err = r.MX.Redact(ctx, p.MXRoom, as, event, ids.Transaction(as, item+" "+string(event), 0))
	}
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrNotFound) {
		r.Log.Warn("an event could not be taken back", "mx_room", p.MXRoom, "mx_event", event, "err", err)
		return nil
	}
	return err
}

// reactionsToMatrix makes the reactions of Rocket.Chat's people to a message the
// same on Matrix. The payload is the message with all its reactions, so what has
// to be done is a difference, and doing it twice does nothing.
func (r *Relay) reactionsToMatrix(ctx context.Context, item queue.Item) error {
	m, err := convert.ParseMessage(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	links, err := r.Store.LinksByMessage(ctx, ids.RCMessage(m.ID))
	if err != nil || len(links) == 0 {
		return err
	}
	p, ok, err := r.Store.PortalByMX(ctx, ids.MXRoom(links[0].MXRoom))
	if err != nil || !ok {
		return err
	}
	wanted, err := r.reacted(ctx, m)
	if err != nil {
		return outcome(item, err, "")
	}
	have, err := r.Store.Reactions(ctx, ids.RCMessage(m.ID))
	if err != nil {
		return err
	}
	for _, old := range have {
		key := reactionKey{old.Emoji, old.User}
		if _, still := wanted[key]; still {
			delete(wanted, key)
			continue
		}
		if mine, err := r.ours(ctx, old.User); err != nil || mine {
			if err != nil {
				return err
			}
			continue // somebody's on Matrix, who takes it back there
		}
		if err := r.redact(ctx, p, old.MXSender, old.Event, item.ID); err != nil {
			return outcome(item, err, "")
		}
		if err := r.Store.DropReaction(ctx, old); err != nil {
			return err
		}
	}
	for key, who := range wanted {
		if err := r.react(ctx, p, ids.MXEvent(links[0].MXEvent), m, key, who, item); err != nil {
			return outcome(item, err, "")
		}
	}
	return nil
}

type reactionKey struct {
	emoji string
	user  ids.RCUser
}

// reacted returns who of Rocket.Chat's people reacted how. Reactions carry
// usernames.
func (r *Relay) reacted(ctx context.Context, m rocketchat.Message) (map[reactionKey]RCPerson, error) {
	out := map[reactionKey]RCPerson{}
	for emoji, by := range m.Reactions {
		for _, username := range by.Usernames {
			if _, puppet, err := r.Store.PuppetByUsername(ctx, username); err != nil {
				return nil, err
			} else if puppet {
				continue
			}
			who, ok, err := r.RC.UserByName(ctx, username)
			if err != nil {
				return nil, err
			}
			if ok && !r.RC.IsBridge(who.ID) {
				out[reactionKey{emoji, who.ID}] = who
			}
		}
	}
	return out, nil
}

// react sends one reaction as a ghost.
func (r *Relay) react(ctx context.Context, p Portal, target ids.MXEvent, m rocketchat.Message, key reactionKey, who RCPerson, item queue.Item) error {
	g, err := r.ghost(ctx, who)
	if err != nil {
		return err
	}
	if err := r.ensureJoined(ctx, p, g.MXUser); err != nil {
		return err
	}
	shown, ok := convert.Unicode(key.emoji)
	if !ok {
		shown = key.emoji // an emoji of this Rocket.Chat's own: its name has to do
	}
	event, err := r.MX.React(ctx, p.MXRoom, g.MXUser, target, shown, ids.Transaction(g.MXUser, item.ID+" "+key.emoji, 0))
	if errors.Is(err, ErrRefused) { // it is there already
		r.Log.Warn("a reaction was refused", "mx_room", p.MXRoom, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	return r.Store.PutReaction(ctx, Reaction{
		Message: ids.RCMessage(m.ID), Emoji: key.emoji, User: key.user, Event: event, MXRoom: p.MXRoom, MXSender: g.MXUser,
	})
}

// reactionToRocketChat delivers a reaction of somebody on Matrix.
func (r *Relay) reactionToRocketChat(ctx context.Context, item queue.Item) error {
	e, err := convert.ParseEvent(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	target, key, ok := convert.ParseReaction(item.Payload)
	if !ok {
		return nil
	}
	links, err := r.Store.LinksByEvent(ctx, ids.MXEvent(target))
	if err != nil || len(links) == 0 || links[0].MXRoom != e.Room {
		return err
	}
	name, ok := r.reactionName(ctx, key, item.Payload)
	if !ok {
		r.Log.Info("a reaction has no name in Rocket.Chat", "mx_event", e.ID)
		return nil
	}
	if r.admit(item, ids.MXUser(e.Sender)) != nil {
		return nil
	}
	puppet, err := r.puppet(ctx, ids.MXUser(e.Sender), "")
	if err != nil {
		return outcome(item, err, "")
	}
	message := ids.RCMessage(links[0].RCMessage)
	emoji := ":" + name + ":"
	if err := r.RC.React(ctx, puppet, message, emoji, true); err != nil {
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden) {
			r.Log.Info("a reaction was refused", "mx_event", e.ID, "err", err)
			return nil
		}
		return outcome(item, err, "")
	}
	return r.Store.PutReaction(ctx, Reaction{
		Message: message, Emoji: emoji, User: puppet.RCUser, Event: ids.MXEvent(e.ID), MXRoom: ids.MXRoom(e.Room), MXSender: ids.MXUser(e.Sender),
	})
}

// redactionToRocketChat takes back what somebody on Matrix took back: a reaction
// or a message.
func (r *Relay) redactionToRocketChat(ctx context.Context, item queue.Item) error {
	target, ok := convert.ParseRedaction(item.Payload)
	if !ok {
		return nil
	}
	e, err := convert.ParseEvent(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	if reaction, ok, err := r.Store.ReactionByEvent(ctx, ids.MXEvent(target)); err != nil || ok {
		if err != nil {
			return err
		}
		if may, err := r.mayRedact(ctx, e, string(reaction.MXRoom), string(reaction.MXSender)); err != nil || !may {
			return outcome(item, err, "")
		}
		return outcome(item, r.unreact(ctx, reaction), "")
	}
	if original, ok, err := r.Store.EditOf(ctx, ids.MXEvent(target)); err != nil || ok {
		if err != nil {
			return err
		}
		return r.editTakenBack(ctx, item, e, ids.MXEvent(target), original)
	}
	links, err := r.Store.LinksByEvent(ctx, ids.MXEvent(target))
	if err != nil {
		return err
	}
	for _, l := range links {
		if may, err := r.mayRedact(ctx, e, l.MXRoom, l.MXSender); err != nil || !may {
			return outcome(item, err, "")
		}
		if err := r.deleteInRocketChat(ctx, l); err != nil {
			return outcome(item, err, "")
		}
	}
	return nil
}

// editTakenBack follows when an edit is redacted.
func (r *Relay) editTakenBack(ctx context.Context, item queue.Item, e convert.Event, edit, original ids.MXEvent) error {
	links, err := r.Store.LinksByEvent(ctx, original)
	if err != nil || len(links) == 0 {
		return err
	}
	if may, err := r.mayRedact(ctx, e, links[0].MXRoom, links[0].MXSender); err != nil || !may {
		return outcome(item, err, "")
	}
	return r.unedit(ctx, item, edit, original)
}

// mayRedact reports whether a redaction may delete what a person sent to a room: it is
// that person's own, or its sender has the power. Homeservers check the same; one that
// does not must not reach further than Matrix.
func (r *Relay) mayRedact(ctx context.Context, redaction convert.Event, room, sender string) (bool, error) {
	if redaction.Room != room {
		r.Log.Warn("a redaction names an event of another room", "mx_room", redaction.Room, "mx_event", redaction.ID)
		return false, nil
	}
	if redaction.Sender == sender {
		return true, nil
	}
	p, ok, err := r.Store.PortalByMX(ctx, ids.MXRoom(room))
	if err != nil || !ok {
		return false, err
	}
	powers, err := r.powers(ctx, p)
	if err != nil {
		return false, err
	}
	may := powers.Of(redaction.Sender) >= powers.Redact
	if !may {
		r.Log.Warn("a redaction lacks the power", "mx_room", room, "mx_event", redaction.ID)
	}
	return may, nil
}

func (r *Relay) unreact(ctx context.Context, reaction Reaction) error {
	puppet, ok, err := r.Store.PuppetByRC(ctx, reaction.User)
	if err != nil {
		return err
	}
	if ok {
		if err := ignore(r.RC.React(ctx, puppet, reaction.Message, reaction.Emoji, false), ErrNotFound, ErrForbidden); err != nil {
			return fmt.Errorf("take a reaction back: %w", err)
		}
	}
	return r.Store.DropReaction(ctx, reaction)
}

// deleteInRocketChat deletes one part of a message, as its author where that is
// a puppet and as the bridge account otherwise.
func (r *Relay) deleteInRocketChat(ctx context.Context, l queue.Receipt) error {
	// The deletion comes back as news, and is then no news.
	if err := r.Store.MarkKnown(ctx, RCDelete(ids.RCMessage(l.RCMessage))); err != nil {
		return err
	}
	author, ok, err := r.Store.PuppetByMX(ctx, ids.MXUser(l.MXSender))
	if err != nil {
		return err
	}
	var as *Puppet
	if ok {
		as = &author
	}
	err = r.RC.Delete(ctx, as, ids.RCRoom(l.RCRoom), ids.RCMessage(l.RCMessage))
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrRefused) {
		r.Log.Info("a message could not be deleted", "rc_message", l.RCMessage, "err", err)
		return nil
	}
	return err
}
