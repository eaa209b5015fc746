package tomatrix

import (
	"context"
	"errors"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// reactions keeps the reactions to a message in sync on Matrix.
type reactions struct {
	*base
	Store reactionStore
	RC    reactionRocketChat
	MX    reactionMatrix
}

// deliver applies the reactions of Rocket.Chat users to a message on Matrix. The
// event is the message with all its reactions, so only the difference is applied,
// which is idempotent.
func (h *reactions) deliver(ctx context.Context, item queue.Item, in event.RCReacted) error {
	m := in.Message
	links, err := h.Store.LinksByMessage(ctx, ids.RCMessage(m.ID))
	if err != nil || len(links) == 0 {
		return err
	}
	p, ok, err := h.Store.PortalByMX(ctx, ids.MXRoom(links[0].MXRoom))
	if err != nil || !ok {
		return err
	}
	wanted, err := h.reacted(ctx, m)
	if err != nil {
		return model.Outcome(item, err, "")
	}
	have, err := h.Store.Reactions(ctx, ids.RCMessage(m.ID))
	if err != nil {
		return err
	}
	for _, old := range have {
		key := reactionKey{old.Emoji, old.User}
		if _, still := wanted[key]; still {
			delete(wanted, key)
			continue
		}
		if !h.Names.Owns(old.MXSender) {
			continue // by a person on Matrix, who removes it there
		}
		if err := h.redact(ctx, p, old.MXSender, old.Event, item.ID); err != nil {
			return model.Outcome(item, err, "")
		}
		if err := h.Store.DropReaction(ctx, old); err != nil {
			return err
		}
	}
	for key, who := range wanted {
		if err := h.react(ctx, p, ids.MXEvent(links[0].MXEvent), m, key, who, item); err != nil {
			return model.Outcome(item, err, "")
		}
	}
	return nil
}

// reacted returns which Rocket.Chat users reacted, and how. Reactions carry usernames.
func (h *reactions) reacted(ctx context.Context, m rocketchat.Message) (map[reactionKey]model.RCPerson, error) {
	out := map[reactionKey]model.RCPerson{}
	for emoji, by := range m.Reactions {
		for _, username := range by.Usernames {
			if _, puppet, err := h.Store.PuppetByUsername(ctx, username); err != nil {
				return nil, err
			} else if puppet {
				continue
			}
			who, ok, err := h.RC.UserByName(ctx, username)
			if err != nil {
				return nil, err
			}
			if ok && !h.RC.IsBridge(who.ID) {
				out[reactionKey{emoji, who.ID}] = who
			}
		}
	}
	return out, nil
}

// react sends one reaction as a ghost.
func (h *reactions) react(ctx context.Context, p model.Portal, target ids.MXEvent, m rocketchat.Message, key reactionKey, who model.RCPerson, item queue.Item) error {
	g, err := h.People.Ghost(ctx, who)
	if err != nil {
		return err
	}
	err = h.bringToSpeak(ctx, p, g.MXUser, item)
	var event ids.MXEvent
	if err == nil {
		event, err = h.annotate(ctx, p, g.MXUser, target, shownAs(key.emoji), key, item)
	}
	if errors.Is(err, model.ErrForbidden) {
		h.Joined.Forget(p.MXRoom, g.MXUser) // the ghost may have been removed
	}
	if errors.Is(err, model.ErrRefused) { // it is there already, or the room does not let the ghost in
		h.Log.Warn("a reaction was refused", "mx_room", p.MXRoom, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	return h.Store.PutReaction(ctx, model.Reaction{
		Message: ids.RCMessage(m.ID), Emoji: key.emoji, User: key.user, Event: event, MXRoom: p.MXRoom, MXSender: g.MXUser,
	})
}

// annotate sends a reaction exactly once: a later attempt first checks whether an earlier
// one arrived without our knowing.
func (h *reactions) annotate(ctx context.Context, p model.Portal, as ids.MXUser, target ids.MXEvent, shown string, key reactionKey, item queue.Item) (ids.MXEvent, error) {
	if item.Attempts > 0 {
		event, ok, err := h.MX.FindReaction(ctx, p.MXRoom, p.Reader(h.Names), as, target, shown)
		if err != nil || ok {
			return event, err
		}
	}
	return h.MX.React(ctx, p.MXRoom, as, target, shown, ids.Transaction(as, item.ID+" "+key.emoji, 0))
}

type reactionKey struct {
	emoji string
	user  ids.RCUser
}
