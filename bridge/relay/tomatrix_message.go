package relay

import (
	"context"
	"fmt"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// messageToMatrix delivers what somebody wrote in Rocket.Chat.
func (r *Relay) messageToMatrix(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	m, err := convert.ParseMessage(item.Payload)
	if err != nil {
		return nil, queue.Permanent("it could not be read", err)
	}
	p, ok, err := r.Store.PortalByRC(ctx, ids.RCRoom(m.RoomID))
	if err != nil || !ok {
		return nil, err // the room is not bridged any more: nothing to do
	}
	if linked, err := r.Store.EventLinked(ctx, ids.RCMessage(m.ID)); err != nil || linked {
		return nil, err
	}
	contents, err := r.contents(ctx, p, m)
	if err != nil || len(contents) == 0 {
		return nil, err
	}
	g, err := r.ghost(ctx, person(m.User))
	if err == nil {
		err = r.ensureJoined(ctx, p, g.MXUser)
	}
	if err != nil {
		return nil, outcome(item, err, "the Matrix server does not let you into the room")
	}
	receipts := make([]queue.Receipt, len(contents))
	for i, c := range contents {
		event, err := r.send(ctx, p, g.MXUser, item, part(m.ID, i), c, m.Time.UnixMilli())
		if err != nil {
			return nil, outcome(item, err, "the Matrix server refused it")
		}
		receipts[i] = queue.Receipt{Part: i, RCRoom: m.RoomID, RCMessage: m.ID, MXRoom: string(p.MXRoom), MXEvent: string(event), MXSender: string(g.MXUser)}
	}
	return receipts, nil
}

// part names a part of a message inside the event that it became.
func part(message string, i int) string {
	if i == 0 {
		return message
	}
	return fmt.Sprintf("%s#%d", message, i)
}

// contents returns what a message becomes on Matrix, as part of a thread where it
// is one.
func (r *Relay) contents(ctx context.Context, p Portal, m rocketchat.Message) ([]convert.Content, error) {
	contents := convert.ToMatrix(m, r.namesInMessage(ctx, m))
	if m.ThreadID == "" {
		return contents, nil
	}
	root, _, err := r.eventOf(ctx, p, ids.RCMessage(m.ThreadID))
	if err != nil || root == "" {
		return contents, err // the thread is older than the portal
	}
	for i, c := range contents {
		contents[i] = c.Thread(string(root), string(root))
	}
	return contents, nil
}

// eventOf returns the event that a message is on Matrix, in this room.
func (r *Relay) eventOf(ctx context.Context, p Portal, message ids.RCMessage) (ids.MXEvent, ids.MXUser, error) {
	links, err := r.Store.LinksByMessage(ctx, message)
	if err != nil || len(links) == 0 || links[0].MXRoom != string(p.MXRoom) {
		return "", "", err
	}
	return ids.MXEvent(links[0].MXEvent), ids.MXUser(links[0].MXSender), nil
}

// editToMatrix delivers a new version of a message. Of one that was split the
// first part is replaced and the others stay.
func (r *Relay) editToMatrix(ctx context.Context, item queue.Item) error {
	m, err := convert.ParseMessage(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	p, ok, err := r.Store.PortalByRC(ctx, ids.RCRoom(m.RoomID))
	if err != nil || !ok {
		return err
	}
	target, sender, err := r.eventOf(ctx, p, ids.RCMessage(m.ID))
	if err != nil || target == "" || !r.Names.Owns(sender) {
		return err // it never crossed, or is somebody's on Matrix, which only they can edit
	}
	contents := convert.ToMatrix(m, r.namesInMessage(ctx, m))
	if len(contents) == 0 {
		return nil
	}
	if err := r.ensureJoined(ctx, p, sender); err != nil {
		return outcome(item, err, "")
	}
	at := m.Time.UnixMilli()
	if m.EditedAt != nil {
		at = m.EditedAt.UnixMilli()
	}
	_, err = r.send(ctx, p, sender, item, item.ID, contents[0].Edit(string(target), nil), at)
	return outcome(item, err, "the Matrix server refused the edit")
}
