package torocketchat

import (
	"context"
	"encoding/json"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// unedits reverts edits.
type unedits struct {
	*base
	Store uneditStore
	MX    uneditMatrix
	edits *edits
}

// unedit handles the redaction of an edit on Matrix: the message reverts to its
// newest other version.
func (h *unedits) unedit(ctx context.Context, item queue.Item, gone, target ids.MXEvent) error {
	links, err := h.Store.LinksByEvent(ctx, target)
	if err != nil || len(links) == 0 {
		return err
	}
	p, ok, err := h.Store.PortalByMX(ctx, ids.MXRoom(links[0].MXRoom))
	if err != nil || !ok {
		return err
	}
	puppet, ok, err := h.Store.PuppetByMX(ctx, ids.MXUser(links[0].MXSender))
	if err != nil || !ok {
		return err
	}
	version, ok, err := h.version(ctx, p, gone, target)
	if err != nil || !ok {
		return model.Outcome(item, model.Ignore(err, model.ErrNotFound, model.ErrForbidden), "")
	}
	if puppet, err = h.Doubles.Author(ctx, p, puppet); err != nil {
		return model.Outcome(item, err, "")
	}
	_, err = h.edits.replace(ctx, item, p, puppet, version, links)
	return err
}

// version returns a message without one of its edits, in the form of an edit.
func (h *unedits) version(ctx context.Context, p model.Portal, gone, target ids.MXEvent) (convert.Event, bool, error) {
	raw, err := h.MX.Event(ctx, p.MXRoom, p.Reader(h.Names), target)
	if err != nil {
		return convert.Event{}, false, err
	}
	original, err := convert.ParseEvent(withoutBundle(raw))
	if err != nil {
		return convert.Event{}, false, err
	}
	newest := original
	fresh := original.Content
	newest.Content.New = &fresh
	newest.Timestamp = 0
	edits, err := h.MX.Referring(ctx, p.MXRoom, p.Reader(h.Names), target, "m.replace")
	if err != nil {
		return convert.Event{}, false, err
	}
	for _, raw := range edits {
		e, err := convert.ParseEvent(raw)
		if err == nil && e.ID != string(gone) && e.Sender == original.Sender && e.Content.New != nil && e.Timestamp > newest.Timestamp {
			newest = e
		}
	}
	newest.ID, newest.Content.Replaces = original.ID+" without "+string(gone), string(target)
	return newest, newest.Content.New.Body != "" || newest.Content.New.URL != "", nil
}

// withoutBundle returns an event as it was sent: some homeservers merge the newest
// version into the old event.
func withoutBundle(raw json.RawMessage) json.RawMessage {
	var e map[string]json.RawMessage
	if json.Unmarshal(raw, &e) != nil {
		return raw
	}
	delete(e, "unsigned")
	out, err := json.Marshal(e)
	if err != nil {
		return raw
	}
	return out
}
