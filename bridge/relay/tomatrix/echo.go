package tomatrix

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// echoes redacts second copies of what the bridge has sent.
type echoes struct {
	*base
	Store echoStore
	MX    echoMatrix
}

// deliver redacts one of our events if it is the second copy of a message or a reaction
// that another event is linked to. An event whose message has no link stays, because
// nothing stands in for it.
func (h *echoes) deliver(ctx context.Context, item queue.Item, in event.RCEcho) error {
	room := ids.RCRoom(strings.TrimPrefix(item.Lane, model.RCLane("")))
	p, ok, err := h.Store.PortalByRC(ctx, room)
	if err != nil || !ok {
		return err
	}
	raw, err := h.MX.Event(ctx, p.MXRoom, p.Reader(h.Names), in.Event)
	if errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrForbidden) {
		return nil
	}
	if err != nil {
		return model.Outcome(item, err, "")
	}
	_, e, err := event.ReadMatrix(raw, p.MXRoom)
	if err != nil {
		return nil //nolint:nilerr // what cannot be read is no copy of ours
	}
	sender, second, err := h.second(ctx, p, e)
	if err != nil || !second {
		return err
	}
	h.Log.Info("the homeserver stored an event twice: the second copy is redacted", "mx_room", p.MXRoom, "mx_event", in.Event)
	return model.Outcome(item, h.redact(ctx, p, sender, in.Event, item.ID), "")
}

// second reports whether another event already stands for the message or reaction behind
// an event, and which of our users sent the event.
func (h *echoes) second(ctx context.Context, p model.Portal, e event.Event) (sender ids.MXUser, second bool, err error) {
	switch e := e.(type) {
	case event.MXWritten:
		message, n, ok := partNumber(e.Event.Content.Source)
		if !ok || e.Event.Content.Replaces != "" || !h.Names.Owns(e.Sender) {
			return "", false, nil
		}
		links, err := h.Store.LinksByMessage(ctx, ids.RCMessage(message))
		links = slices.DeleteFunc(links, func(l queue.Receipt) bool { return l.MXRoom != string(p.MXRoom) })
		itself := slices.ContainsFunc(links, func(l queue.Receipt) bool { return l.MXEvent == string(e.ID) })
		return e.Sender, !itself && slices.ContainsFunc(links, func(l queue.Receipt) bool { return l.Part == n }), err
	case event.MXReacted:
		links, err := h.Store.LinksByEvent(ctx, e.Target)
		if err != nil || len(links) == 0 || !h.Names.Owns(e.Sender) {
			return "", false, err
		}
		known, err := h.Store.Reactions(ctx, ids.RCMessage(links[0].RCMessage))
		itself := slices.ContainsFunc(known, func(r model.Reaction) bool { return r.Event == e.ID })
		return e.Sender, !itself && slices.ContainsFunc(known, func(r model.Reaction) bool { return r.MXSender == e.Sender && shownAs(r.Emoji) == e.Key }), err
	}
	return "", false, nil
}

// shownAs returns the Matrix reaction for an emoji of Rocket.Chat.
func shownAs(emoji string) string {
	if shown, ok := convert.Unicode(emoji); ok {
		return shown
	}
	return emoji // a custom emoji: its name is shown
}

// partNumber is the inverse of part. ok is false for anything but a part of a message as
// it was first sent, such as a part of a new version or a file that came late.
func partNumber(source string) (message string, n int, ok bool) {
	message, digits, more := strings.Cut(source, "#")
	if !more {
		return message, 0, message != ""
	}
	n, err := strconv.Atoi(digits)
	return message, n, err == nil && n > 0
}
