package torocketchat

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// reactions adds and removes the reactions of people on Matrix.
type reactions struct {
	*base
	Store reactionStore
	RC    reactionRocketChat
}

// deliver adds the reaction of a person on Matrix.
func (h *reactions) deliver(ctx context.Context, item queue.Item, e event.MXReacted) error {
	if e.Target == "" {
		return nil // cannot be understood
	}
	links, err := h.linksOf(ctx, item, e.Room, e.Target)
	if err == nil && len(links) == 0 {
		return h.early(ctx, item, e.Room, e.ID, e.Target)
	}
	if err != nil || links[0].MXRoom != string(e.Room) {
		return err
	}
	name, ok := h.reactionName(ctx, e)
	if !ok {
		h.Log.Info("a reaction has no name in Rocket.Chat", "mx_event", e.ID)
		return nil
	}
	if h.Admission.Admit(item, e.Sender) != nil {
		return nil
	}
	p, ok, err := h.portalOf(ctx, e.Room)
	if err != nil || !ok {
		return err
	}
	puppet, err := h.People.Puppet(ctx, e.Sender, "")
	if err == nil {
		puppet, err = h.Doubles.Author(ctx, p, puppet)
	}
	if err != nil {
		return model.Outcome(item, err, "")
	}
	message := ids.RCMessage(links[0].RCMessage)
	reaction := model.Reaction{Message: message, Emoji: ":" + name + ":", User: puppet.RCUser, Event: e.ID, MXRoom: e.Room, MXSender: e.Sender}
	if puppet.Own {
		done, err := h.reactAsOwn(ctx, puppet, reaction)
		if done || err != nil {
			return model.Outcome(item, err, "")
		}
		if puppet, err = h.People.Puppet(ctx, e.Sender, ""); err != nil {
			return model.Outcome(item, err, "")
		}
		reaction.User = puppet.RCUser
	}
	if err := h.RC.React(ctx, puppet, message, reaction.Emoji, true); err != nil {
		if errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrForbidden) {
			h.Log.Info("a reaction was refused", "mx_event", e.ID, "err", err)
			return nil
		}
		return model.Outcome(item, err, "")
	}
	return h.Store.PutReaction(ctx, reaction)
}

// reactAsOwn reacts with a person's own account. The reaction is recorded first, so that
// its echo is not mistaken for one that the person made in Rocket.Chat. done is false if
// the puppet has to react.
func (h *reactions) reactAsOwn(ctx context.Context, own model.Puppet, reaction model.Reaction) (done bool, err error) {
	if err := h.Store.PutReaction(ctx, reaction); err != nil {
		return false, err
	}
	err = h.RC.React(ctx, own, reaction.Message, reaction.Emoji, true)
	gone := errors.Is(err, model.ErrNotFound)
	if !gone && !fallsBack(own, err) {
		return err == nil, err
	}
	return gone, h.Store.DropReaction(ctx, reaction)
}

// reactionName returns the name of a reaction in Rocket.Chat, without colons: that
// of a standard or a custom emoji. Clients that react with pictures send the name
// beside them (MSC4027).
func (h *reactions) reactionName(ctx context.Context, e event.MXReacted) (string, bool) {
	if name, ok := convert.Shortcode(e.Key); ok {
		return name, true
	}
	key := e.Key
	if strings.HasPrefix(key, "mxc://") {
		key = e.Name
	}
	name := strings.Trim(key, ":")
	if name == "" {
		return "", false
	}
	own, ok := h.RC.Emoji(ctx, name)
	return own.Name, ok
}

func (h *reactions) unreact(ctx context.Context, reaction model.Reaction) error {
	puppet, ok, err := h.Store.PuppetByRC(ctx, reaction.User)
	if err != nil {
		return err
	}
	if d, own, err := h.base.Store.DoubleByMX(ctx, reaction.MXSender); err != nil {
		return err
	} else if own && d.RCUser == reaction.User {
		puppet, ok = d.Puppet(), true
	}
	if ok {
		if err := model.Ignore(h.RC.React(ctx, puppet, reaction.Message, reaction.Emoji, false), model.ErrNotFound, model.ErrForbidden); err != nil {
			return fmt.Errorf("take a reaction back: %w", err)
		}
	}
	return h.Store.DropReaction(ctx, reaction)
}
