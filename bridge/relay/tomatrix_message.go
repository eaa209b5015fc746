package relay

import (
	"context"
	"fmt"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// messageToMatrix delivers what somebody wrote in Rocket.Chat.
func (r *Relay) messageToMatrix(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	m, p, ok, err := r.ofRocketChat(ctx, item)
	if err != nil || !ok {
		return nil, err // the room is not bridged any more: nothing to do
	}
	if linked, err := r.Store.EventLinked(ctx, ids.RCMessage(m.ID)); err != nil || linked {
		return nil, err
	}
	if name, params, ok := typedCommand(m.Text); ok {
		r.carryOut(ctx, item, Caller{RCPerson: person(m.User), Room: p.RCRoom}, name, params)
		return nil, nil
	}
	g, err := r.ghost(ctx, person(m.User))
	if err == nil {
		err = r.ensureJoined(ctx, p, g.MXUser)
	}
	if err != nil {
		return nil, outcome(item, err, "the Matrix server does not let you into the room")
	}
	contents, err := r.contents(ctx, item, p, g.MXUser, m)
	if err != nil {
		return nil, outcome(item, err, "the Matrix server refused it")
	}
	receipts := make([]queue.Receipt, len(contents))
	for i, c := range contents {
		event, err := r.send(ctx, p, g.MXUser, item, part(m.ID, i), c, m.Time.UnixMilli())
		if err != nil {
			return nil, outcome(item, err, "the Matrix server refused it")
		}
		receipts[i] = queue.Receipt{Part: i, RCRoom: m.RoomID, RCMessage: m.ID, MXRoom: string(p.MXRoom), MXEvent: string(event), MXSender: string(g.MXUser)}
	}
	r.MX.Follow(p.MXReader)
	return receipts, nil
}

// part names a part of a message inside the event that it became.
func part(message string, i int) string {
	if i == 0 {
		return message
	}
	return fmt.Sprintf("%s#%d", message, i)
}

// contents returns what a message becomes on Matrix, with its files, which are
// carried now, and as part of a thread where it is one.
func (r *Relay) contents(ctx context.Context, item queue.Item, p Portal, as ids.MXUser, m rocketchat.Message) ([]convert.Content, error) {
	files, rest := convert.Uploads(m)
	look := r.namesInMessage(ctx, m)
	contents := convert.ToMatrix(rest, look)
	if len(files) > 0 {
		media, err := r.filesToMatrix(ctx, item, p, as, m, files)
		if err != nil {
			return nil, err
		}
		contents = withFiles(contents, media, convert.ReplyTarget(rest, look))
	}
	if m.ThreadID == "" || len(contents) == 0 {
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

// withFiles joins a text and the files beside it: one text is the caption of one
// file, otherwise the files follow the text.
func withFiles(texts, media []convert.Content, reply string) []convert.Content {
	if len(texts) == 1 && len(media) == 1 && media[0].URL != "" {
		return []convert.Content{texts[0].WithFile(media[0].FileName, media[0].URL, *media[0].Info)}
	}
	if len(texts) == 0 && len(media) > 0 && reply != "" {
		media[0] = media[0].Reply(reply)
	}
	return append(texts, media...)
}

// eventOf returns the event that a message is on Matrix, in this room.
func (r *Relay) eventOf(ctx context.Context, p Portal, message ids.RCMessage) (ids.MXEvent, ids.MXUser, error) {
	links, err := r.Store.LinksByMessage(ctx, message)
	if err != nil || len(links) == 0 || links[0].MXRoom != string(p.MXRoom) {
		return "", "", err
	}
	return ids.MXEvent(links[0].MXEvent), ids.MXUser(links[0].MXSender), nil
}

// editToMatrix delivers a new version of a message, part by part: parts that are
// new are sent, and parts that are no more are taken back.
func (r *Relay) editToMatrix(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	m, p, ok, err := r.ofRocketChat(ctx, item)
	if err != nil || !ok {
		return nil, err
	}
	old, err := r.partsOf(ctx, p, ids.RCMessage(m.ID))
	if err != nil || len(old) == 0 || !r.Names.Owns(ids.MXUser(old[0].MXSender)) {
		return nil, err // it never crossed, or is somebody's on Matrix, which only they can edit
	}
	sender := ids.MXUser(old[0].MXSender)
	if err := r.ensureJoined(ctx, p, sender); err != nil {
		return nil, outcome(item, err, "")
	}
	contents, err := r.contents(ctx, item, p, sender, m)
	if err != nil || len(contents) == 0 {
		return nil, outcome(item, err, "the Matrix server refused the edit")
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
		event, err := r.send(ctx, p, sender, item, part(item.ID, i), c, at)
		if err != nil {
			return nil, outcome(item, err, "the Matrix server refused the edit")
		}
		if i >= len(old) {
			receipts = append(receipts, queue.Receipt{Part: i, RCRoom: m.RoomID, RCMessage: m.ID, MXRoom: string(p.MXRoom), MXEvent: string(event), MXSender: string(sender)})
		}
	}
	for _, l := range old[min(len(contents), len(old)):] {
		if err := r.redact(ctx, p, sender, ids.MXEvent(l.MXEvent), item.ID); err != nil {
			return nil, outcome(item, err, "")
		}
		if err := r.Store.DropLink(ctx, l); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}

// partsOf returns the parts of a message in this room, without files that
// followed later.
func (r *Relay) partsOf(ctx context.Context, p Portal, message ids.RCMessage) ([]queue.Receipt, error) {
	links, err := r.Store.LinksByMessage(ctx, message)
	return slices.DeleteFunc(links, func(l queue.Receipt) bool {
		return l.MXRoom != string(p.MXRoom) || l.Part >= latePart
	}), err
}
