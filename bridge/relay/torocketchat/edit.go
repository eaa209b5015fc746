package torocketchat

import (
	"context"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/transfer"
)

// edits delivers new versions of messages.
type edits struct {
	*base
	Store editStore
	RC    editRocketChat
}

// edit delivers a new version of a message, unless a newer one was already delivered: the
// newest counts, whatever the order of arrival (specification, "Applying m.new_content").
func (h *edits) edit(ctx context.Context, item queue.Item, p model.Portal, puppet model.Puppet, e convert.Event) ([]queue.Receipt, error) {
	target := ids.MXEvent(e.Content.Replaces)
	old, err := h.Store.LinksByEvent(ctx, target)
	if err == nil && len(old) == 0 {
		return nil, h.early(ctx, item, ids.MXRoom(e.Room), ids.MXEvent(e.ID), target)
	}
	if err != nil || old[0].MXSender != e.Sender || old[0].RCRoom != string(p.RCRoom) {
		return nil, err // it was never relayed, or is another person's
	}
	if newest, err := h.Store.DateEdit(ctx, ids.MXEvent(e.ID), target, e.Timestamp); err != nil || !newest {
		return nil, err
	}
	return h.replace(ctx, item, p, puppet, e, old)
}

// replace changes a message to another version, part by part: new parts are sent, and
// parts that are gone are deleted.
func (h *edits) replace(ctx context.Context, item queue.Item, p model.Portal, puppet model.Puppet, e convert.Event, old []queue.Receipt) ([]queue.Receipt, error) {
	target := ids.MXEvent(e.Content.Replaces)
	kept := slices.DeleteFunc(slices.Clone(old), func(l queue.Receipt) bool { return l.Part >= transfer.LatePart })
	late := len(kept) < len(old) // the file is not the first part, but a message of its own
	old = kept
	_, file, err := h.Store.File(ctx, model.MXFile(target))
	if err != nil {
		return nil, err
	}
	look := h.namesInEvent(ctx, p, e)
	parts := convert.ToRocketChat(e, look)
	if file {
		beside, after := convert.Caption(e, look)
		if parts = after; beside != "" || !late || len(after) == 0 {
			parts = append([]string{beside}, after...) // "": the caption is gone, the file stays
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	var receipts []queue.Receipt
	for i, text := range parts {
		if i < len(old) {
			if err := h.change(ctx, p, puppet, ids.RCMessage(old[i].RCMessage), text); model.Ignore(err, model.ErrNotFound) != nil {
				return nil, model.Outcome(item, err, "Rocket.Chat refused the edit")
			}
			continue
		}
		id := ids.MessageFor(p.MXRoom, ids.MXEvent(e.ID), i)
		if err := h.say(ctx, p, puppet, id, "", text); err != nil {
			return nil, model.Outcome(item, err, "Rocket.Chat refused the edit")
		}
		receipts = append(receipts, queue.Receipt{Part: i, RCRoom: string(p.RCRoom), RCMessage: string(id), MXRoom: e.Room, MXEvent: string(target), MXSender: e.Sender})
	}
	for _, l := range old[min(len(parts), len(old)):] {
		if err := h.deleteMessage(ctx, l); err != nil {
			return nil, model.Outcome(item, err, "")
		}
		if err := h.Store.DropLink(ctx, l); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}

// change edits a message. A message older than the link with its author's
// account is the puppet's.
func (h *edits) change(ctx context.Context, p model.Portal, as model.Puppet, message ids.RCMessage, text string) error {
	if as.Own {
		err := h.RC.Edit(ctx, as, p.RCRoom, message, text)
		if !fallsBack(as, err) {
			return err
		}
		if as, err = h.speaker(ctx, p, as.MXUser); err != nil {
			return err
		}
	}
	return h.asMember(ctx, p, as, func() error { return h.RC.Edit(ctx, as, p.RCRoom, message, text) })
}
