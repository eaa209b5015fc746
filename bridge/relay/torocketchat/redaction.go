package torocketchat

import (
	"context"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// redactions takes back messages, edits and reactions.
type redactions struct {
	*base
	Store     redactionStore
	unedits   *unedits
	reactions *reactions
}

// deliver follows a redaction on Matrix: of a reaction
// or a message.
func (h *redactions) deliver(ctx context.Context, item queue.Item) error {
	target, ok := convert.ParseRedaction(item.Payload)
	if !ok {
		return nil
	}
	e, err := convert.ParseEvent(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	if reaction, ok, err := h.Store.ReactionByEvent(ctx, ids.MXEvent(target)); err != nil || ok {
		if err != nil {
			return err
		}
		if may, err := h.mayRedact(ctx, e, string(reaction.MXRoom), string(reaction.MXSender)); err != nil || !may {
			return model.Outcome(item, err, "")
		}
		return model.Outcome(item, h.reactions.unreact(ctx, reaction), "")
	}
	if original, ok, err := h.Store.EditOf(ctx, ids.MXEvent(target)); err != nil || ok {
		if err != nil {
			return err
		}
		return h.editTakenBack(ctx, item, e, ids.MXEvent(target), original)
	}
	links, err := h.Store.LinksByEvent(ctx, ids.MXEvent(target))
	if err != nil {
		return err
	}
	for _, l := range links {
		if may, err := h.mayRedact(ctx, e, l.MXRoom, l.MXSender); err != nil || !may {
			return model.Outcome(item, err, "")
		}
		if err := h.deleteMessage(ctx, l); err != nil {
			return model.Outcome(item, err, "")
		}
	}
	return nil
}

// editTakenBack follows when an edit is redacted.
func (h *redactions) editTakenBack(ctx context.Context, item queue.Item, e convert.Event, edit, original ids.MXEvent) error {
	links, err := h.Store.LinksByEvent(ctx, original)
	if err != nil || len(links) == 0 {
		return err
	}
	if may, err := h.mayRedact(ctx, e, links[0].MXRoom, links[0].MXSender); err != nil || !may {
		return model.Outcome(item, err, "")
	}
	return h.unedits.unedit(ctx, item, edit, original)
}

// mayRedact reports whether a redaction may delete what a person sent to a room: it is
// that person's own, or its sender has the power. Homeservers check the same; one that
// does not must not reach further than Matrix.
func (h *redactions) mayRedact(ctx context.Context, redaction convert.Event, room, sender string) (bool, error) {
	if redaction.Room != room {
		h.Log.Warn("a redaction names an event of another room", "mx_room", redaction.Room, "mx_event", redaction.ID)
		return false, nil
	}
	if redaction.Sender == sender {
		return true, nil
	}
	p, ok, err := h.Store.PortalByMX(ctx, ids.MXRoom(room))
	if err != nil || !ok {
		return false, err
	}
	powers, err := h.State.Powers(ctx, p)
	if err != nil {
		return false, err
	}
	may := powers.Of(redaction.Sender) >= powers.Redact
	if !may {
		h.Log.Warn("the sender of a redaction lacks the power", "mx_room", room, "mx_event", redaction.ID)
	}
	return may, nil
}
