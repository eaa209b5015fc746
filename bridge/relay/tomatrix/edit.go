package tomatrix

import (
	"context"
	"slices"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/transfer"
)

// edit delivers a new version of a message, part by part: new parts are sent, and parts
// that are gone are redacted.
func (h *messages) edit(ctx context.Context, item queue.Item, in event.RCEdited) ([]queue.Receipt, error) {
	m := in.Message
	p, ok, err := h.portalOf(ctx, m)
	if err != nil || !ok {
		return nil, err
	}
	old, err := h.partsOf(ctx, p, ids.RCMessage(m.ID))
	if err != nil || len(old) == 0 || !h.Names.Owns(ids.MXUser(old[0].MXSender)) {
		return nil, err // it was never relayed, or is by a person on Matrix, who alone can edit it
	}
	sender := ids.MXUser(old[0].MXSender)
	if err := h.bringToSpeak(ctx, p, sender, item); err != nil {
		return nil, model.Outcome(item, err, "")
	}
	contents, err := h.contents(ctx, item, p, sender, m)
	if err != nil || len(contents) == 0 {
		return nil, model.Outcome(item, err, "the Matrix server refused the edit")
	}
	at := m.Time.UnixMilli()
	if m.EditedAt != nil {
		at = m.EditedAt.UnixMilli()
	}
	var receipts []queue.Receipt
	for i, c := range contents {
		if i < len(old) {
			c = c.Edit(old[i].MXEvent, nil)
		}
		event, err := h.send(ctx, p, sender, item, part(item.ID, i), c, at)
		if err != nil {
			return nil, model.Outcome(item, err, "the Matrix server refused the edit")
		}
		if i >= len(old) {
			receipts = append(receipts, queue.Receipt{Part: i, RCRoom: m.RoomID, RCMessage: m.ID, MXRoom: string(p.MXRoom), MXEvent: string(event), MXSender: string(sender)})
		}
	}
	for _, l := range old[min(len(contents), len(old)):] {
		if err := h.redact(ctx, p, sender, ids.MXEvent(l.MXEvent), item.ID); err != nil {
			return nil, model.Outcome(item, err, "")
		}
		if err := h.Store.DropLink(ctx, l); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}

// partsOf returns the parts of a message in this room, without files that
// followed later.
func (h *messages) partsOf(ctx context.Context, p model.Portal, message ids.RCMessage) ([]queue.Receipt, error) {
	links, err := h.Store.LinksByMessage(ctx, message)
	return slices.DeleteFunc(links, func(l queue.Receipt) bool {
		return l.MXRoom != string(p.MXRoom) || l.Part >= transfer.LatePart
	}), err
}
