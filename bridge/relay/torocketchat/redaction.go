package torocketchat

import (
	"context"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// redactions removes redacted messages, edits and reactions.
type redactions struct {
	*base
	Store     redactionStore
	unedits   *unedits
	reactions *reactions
}

// deliver handles a redaction on Matrix, of a reaction, an edit or a message.
func (h *redactions) deliver(ctx context.Context, item queue.Item, e event.MXRedacted) error {
	if e.Target == "" {
		return nil
	}
	if reaction, ok, err := h.Store.ReactionByEvent(ctx, e.Target); err != nil || ok {
		if err != nil {
			return err
		}
		if may, err := h.mayRedact(ctx, e.MXHead, reaction.MXRoom, reaction.MXSender); err != nil || !may {
			return model.Outcome(item, err, "")
		}
		return model.Outcome(item, h.reactions.unreact(ctx, reaction), "")
	}
	if original, ok, err := h.Store.EditOf(ctx, e.Target); err != nil || ok {
		if err != nil {
			return err
		}
		return h.editTakenBack(ctx, item, e, original)
	}
	links, err := h.linksOf(ctx, item, e.Room, e.Target)
	if err == nil && len(links) == 0 {
		return h.early(ctx, item, e.Room, e.ID, e.Target)
	}
	if err != nil {
		return err
	}
	for _, l := range links {
		if may, err := h.mayRedact(ctx, e.MXHead, ids.MXRoom(l.MXRoom), ids.MXUser(l.MXSender)); err != nil || !may {
			return model.Outcome(item, err, "")
		}
		if err := h.deleteMessage(ctx, l); err != nil {
			return model.Outcome(item, err, "")
		}
	}
	return nil
}

// editTakenBack handles the redaction of an edit.
func (h *redactions) editTakenBack(ctx context.Context, item queue.Item, e event.MXRedacted, original ids.MXEvent) error {
	links, err := h.Store.LinksByEvent(ctx, original)
	if err != nil || len(links) == 0 {
		return err
	}
	if may, err := h.mayRedact(ctx, e.MXHead, ids.MXRoom(links[0].MXRoom), ids.MXUser(links[0].MXSender)); err != nil || !may {
		return model.Outcome(item, err, "")
	}
	return h.unedits.unedit(ctx, item, e.Target, original)
}

// mayRedact reports whether a redaction may delete what a person sent to a room: that
// person sent the redaction, or its sender has the power. Homeservers check the same; a
// redaction that one does not check must not reach Rocket.Chat.
func (h *redactions) mayRedact(ctx context.Context, redaction event.MXHead, room ids.MXRoom, sender ids.MXUser) (bool, error) {
	if redaction.Room != room {
		h.Log.Warn("a redaction names an event of another room", "mx_room", redaction.Room, "mx_event", redaction.ID)
		return false, nil
	}
	if redaction.Sender == sender {
		return true, nil
	}
	p, ok, err := h.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return false, err
	}
	powers, err := h.State.Powers(ctx, p)
	if err != nil {
		return false, err
	}
	may := powers.Of(string(redaction.Sender)) >= powers.Redact
	if !may {
		h.Log.Warn("the sender of a redaction lacks the power level", "mx_room", room, "mx_event", redaction.ID)
	}
	return may, nil
}
