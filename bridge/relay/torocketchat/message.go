package torocketchat

import (
	"context"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/ephemeral"
	"appliance/bridge/relay/model"
	"appliance/bridge/trace"
)

// messages delivers messages; edits and files have files of their own.
type messages struct {
	*base
	Store  messageStore
	MX     messageMatrix
	Events *ephemeral.Events
	edits  *edits
	files  *files
}

// deliver delivers a message from Matrix. Message IDs are
// derived from the event's, so every step may be repeated.
func (h *messages) deliver(ctx context.Context, item queue.Item, in event.MXWritten) ([]queue.Receipt, error) {
	e := in.Event
	p, ok, err := h.portalOf(ctx, in.Room)
	if err != nil || !ok {
		return nil, err // the room is not bridged
	}
	if linked, err := h.Store.MessageLinked(ctx, in.ID); err != nil || linked {
		return nil, err
	}
	if again, err := h.cameFromHere(ctx, e); err != nil || again {
		return nil, err
	}
	if err := h.Admission.Admit(item, in.Sender); err != nil {
		return nil, err
	}
	if done, err := h.linking(ctx, item, p, in); done || err != nil {
		return nil, err
	}
	puppet, err := h.speaker(ctx, p, in.Sender)
	if err != nil {
		return nil, model.Outcome(item, err, "Rocket.Chat refused to create an account for you")
	}
	if p, err = h.Portals.PlaceFor(ctx, p, puppet); err != nil {
		return nil, model.Outcome(item, err, "Rocket.Chat refused it")
	}
	if puppet, err = h.Doubles.Author(ctx, p, puppet); err != nil {
		return nil, model.Outcome(item, err, "Rocket.Chat refused it")
	}
	if e.Content.Replaces != "" {
		// An edit can be redacted, which empties its event.
		if err := h.Store.PutEdit(ctx, in.ID, ids.MXEvent(e.Content.Replaces)); err != nil {
			return nil, err
		}
		return h.edits.edit(ctx, item, p, puppet, e)
	}
	thread, err := h.target(ctx, item, p, ids.MXEvent(e.Content.Thread))
	if err == nil && e.Content.ReplyTo != "" && !e.Content.FallsBack {
		_, err = h.target(ctx, item, p, ids.MXEvent(e.Content.ReplyTo)) // which is quoted below
	}
	if err != nil {
		return nil, err
	}
	if e.HasFile() {
		return h.files.carry(ctx, item, p, puppet, in, thread)
	}
	parts := h.converted(ctx, p, e)
	receipts := make([]queue.Receipt, len(parts))
	for i, text := range parts {
		id := ids.MessageFor(p.MXRoom, in.ID, i)
		if err := h.say(ctx, p, puppet, id, thread, text); err != nil {
			return nil, model.Outcome(item, err, "Rocket.Chat refused it")
		}
		receipts[i] = queue.Receipt{Part: i, RCRoom: string(p.RCRoom), RCMessage: string(id), MXRoom: e.Room, MXEvent: e.ID, MXSender: e.Sender}
	}
	h.Events.ToBeRead(p, in.ID)
	h.MX.Follow(p.MXReader)
	return receipts, nil
}

// converted returns the messages that an event is converted to.
func (h *messages) converted(ctx context.Context, p model.Portal, e convert.Event) []string {
	ctx, span := trace.Step(ctx, "convert")
	defer span.End("")
	return convert.ToRocketChat(e, h.namesInEvent(ctx, p, e))
}

// cameFromHere reports whether another bridge sent an event for a message of this
// Rocket.Chat.
func (h *messages) cameFromHere(ctx context.Context, e convert.Event) (bool, error) {
	if e.Content.Source == "" {
		return false, nil
	}
	return h.Store.EventLinked(ctx, ids.RCMessage(e.Content.Source))
}
