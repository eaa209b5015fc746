package torocketchat

import (
	"context"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// encrypted answers messages that are encrypted on Matrix.
type encrypted struct {
	*base
}

// deliver answers a message that nobody here can read.
func (h *encrypted) deliver(ctx context.Context, item queue.Item, e event.MXUnreadable) error {
	p, ok, err := h.portalOf(ctx, e.Room)
	if err != nil || !ok {
		return err
	}
	return model.Outcome(item, h.Notices.Encrypted(ctx, p), "")
}
