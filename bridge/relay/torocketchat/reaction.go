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

// reactions adds the reactions of people on Matrix, and takes them back.
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
	links, err := h.Store.LinksByEvent(ctx, e.Target)
	if err != nil || len(links) == 0 || links[0].MXRoom != string(e.Room) {
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
	puppet, err := h.People.Puppet(ctx, e.Sender, "")
	if err != nil {
		return model.Outcome(item, err, "")
	}
	message := ids.RCMessage(links[0].RCMessage)
	emoji := ":" + name + ":"
	if err := h.RC.React(ctx, puppet, message, emoji, true); err != nil {
		if errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrForbidden) {
			h.Log.Info("a reaction was refused", "mx_event", e.ID, "err", err)
			return nil
		}
		return model.Outcome(item, err, "")
	}
	return h.Store.PutReaction(ctx, model.Reaction{
		Message: message, Emoji: emoji, User: puppet.RCUser, Event: e.ID, MXRoom: e.Room, MXSender: e.Sender,
	})
}

// reactionName returns what a reaction is called in Rocket.Chat, without colons:
// a standard emoji, or a custom one by its name. Clients that react with
// pictures put the name beside it (MSC4027).
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
	if ok {
		if err := model.Ignore(h.RC.React(ctx, puppet, reaction.Message, reaction.Emoji, false), model.ErrNotFound, model.ErrForbidden); err != nil {
			return fmt.Errorf("take a reaction back: %w", err)
		}
	}
	return h.Store.DropReaction(ctx, reaction)
}
