package torocketchat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"appliance/bridge/convert"
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
func (h *reactions) deliver(ctx context.Context, item queue.Item) error {
	e, err := convert.ParseEvent(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	target, key, ok := convert.ParseReaction(item.Payload)
	if !ok {
		return nil
	}
	links, err := h.Store.LinksByEvent(ctx, ids.MXEvent(target))
	if err != nil || len(links) == 0 || links[0].MXRoom != e.Room {
		return err
	}
	name, ok := h.reactionName(ctx, key, item.Payload)
	if !ok {
		h.Log.Info("a reaction has no name in Rocket.Chat", "mx_event", e.ID)
		return nil
	}
	if h.Admission.Admit(item, ids.MXUser(e.Sender)) != nil {
		return nil
	}
	puppet, err := h.People.Puppet(ctx, ids.MXUser(e.Sender), "")
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
		Message: message, Emoji: emoji, User: puppet.RCUser, Event: ids.MXEvent(e.ID), MXRoom: ids.MXRoom(e.Room), MXSender: ids.MXUser(e.Sender),
	})
}

// reactionName returns what a reaction is called in Rocket.Chat, without colons:
// an emoji, or one of Rocket.Chat's own by its name. Clients that react with
// pictures put the name beside it (MSC4027).
func (h *reactions) reactionName(ctx context.Context, key string, event []byte) (string, bool) {
	if name, ok := convert.Shortcode(key); ok {
		return name, true
	}
	var e struct {
		Content struct {
			Name   string `json:"shortcode"`
			Beeper string `json:"com.beeper.reaction.shortcode"`
		} `json:"content"`
	}
	if strings.HasPrefix(key, "mxc://") && json.Unmarshal(event, &e) == nil {
		if key = e.Content.Beeper; key == "" {
			key = e.Content.Name
		}
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
