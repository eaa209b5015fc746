package tomatrix

import (
	"context"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// deletions redacts the events of deleted messages.
type deletions struct {
	*base
	Store deletionStore
	RC    deletionRocketChat
}

// deliver redacts the events of a message that was deleted.
func (h *deletions) deliver(ctx context.Context, item queue.Item, in event.RCDeleted) error {
	links, err := h.Store.LinksByMessage(ctx, ids.RCMessage(in.Message.ID))
	if err != nil || len(links) == 0 {
		return err // never relayed
	}
	p, ok, err := h.Store.PortalByMX(ctx, ids.MXRoom(links[0].MXRoom))
	if err != nil || !ok {
		return err
	}
	as, err := h.whoTakesBack(ctx, p, ids.MXUser(links[0].MXSender))
	if err != nil {
		return model.Outcome(item, err, "")
	}
	for _, l := range links {
		if err := h.redact(ctx, p, as, ids.MXEvent(l.MXEvent), item.ID); err != nil {
			return model.Outcome(item, err, "")
		}
	}
	return nil
}

// whoTakesBack returns the user that redacts a sender's events: the sender, unless the
// account was deleted with all its messages. Then the ghost leaves its rooms at the same
// moment, and other servers would not accept its redactions.
func (h *deletions) whoTakesBack(ctx context.Context, p model.Portal, sender ids.MXUser) (ids.MXUser, error) {
	g, ok, err := h.Store.GhostByMX(ctx, sender)
	if err != nil || !ok {
		return sender, err
	}
	if _, ok, err = h.RC.UserByID(ctx, g.RCUser); err != nil || ok {
		return sender, err
	}
	return p.Reader(h.Names), nil
}
