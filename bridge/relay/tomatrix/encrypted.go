package tomatrix

import (
	"context"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// encrypted answers messages that are encrypted in Rocket.Chat.
type encrypted struct {
	*base
	Store encryptedStore
	RC    encryptedRocketChat
}

// deliver answers a message that is encrypted in Rocket.Chat, once for each room.
func (h *encrypted) deliver(ctx context.Context, item queue.Item, in event.RCUnreadable) error {
	m := in.Message
	p, ok, err := h.portalOf(ctx, m)
	if err != nil || !ok {
		return err
	}
	mark := "secret " + string(p.RCRoom)
	known, err := h.Store.Known(ctx, []string{mark})
	if err != nil || len(known) > 0 {
		return err
	}
	h.Notices.OnMatrix(ctx, p, mark, unreadable)
	if err := h.Notices.InRocketChat(ctx, p, unreadable); err != nil {
		// The room takes encrypted messages only.
		if err := h.RC.Tell(ctx, model.PersonOf(m.User), unreadable); err != nil {
			return model.Outcome(item, err, "")
		}
	}
	return h.Store.MarkKnown(ctx, mark)
}

// unreadable is the notice for a Rocket.Chat room whose messages are encrypted.
const unreadable = "The bridge cannot read encrypted messages in this room of Rocket.Chat, so they do not arrive on Matrix. " +
	"Please turn off encryption for the room, or continue in another room."
