package tomatrix

import (
	"context"
	"fmt"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/trace"
)

// messages delivers messages and their edits; files have a file of their own.
type messages struct {
	*base
	Store messageStore
	MX    messageMatrix
	Typed func(ctx context.Context, caller model.Caller, name, params string)
	files *files
}

// deliver delivers a message from Rocket.Chat.
func (h *messages) deliver(ctx context.Context, item queue.Item, in event.RCWritten) ([]queue.Receipt, error) {
	m := in.Message
	p, ok, err := h.portalOf(ctx, m)
	if err != nil || !ok {
		return nil, err // the room is not bridged any more: nothing to do
	}
	if linked, err := h.Store.EventLinked(ctx, ids.RCMessage(m.ID)); err != nil || linked {
		return nil, err
	}
	if name, params, ok := typedCommand(m.Text); ok {
		h.command(ctx, item, model.Caller{RCPerson: model.PersonOf(m.User), Room: p.RCRoom}, name, params)
		return nil, nil
	}
	g, err := h.People.Ghost(ctx, model.PersonOf(m.User))
	if err == nil {
		err = h.bringToSpeak(ctx, p, g.MXUser, item)
	}
	if err != nil {
		return nil, model.Outcome(item, err, "the Matrix server does not let you into the room")
	}
	contents, err := h.contents(ctx, item, p, g.MXUser, m)
	if err != nil {
		return nil, model.Outcome(item, err, "the Matrix server refused it")
	}
	receipts := make([]queue.Receipt, len(contents))
	for i, c := range contents {
		event, err := h.send(ctx, p, g.MXUser, item, part(m.ID, i), c, m.Time.UnixMilli())
		if err != nil {
			return nil, model.Outcome(item, err, "the Matrix server refused it")
		}
		receipts[i] = queue.Receipt{Part: i, RCRoom: m.RoomID, RCMessage: m.ID, MXRoom: string(p.MXRoom), MXEvent: string(event), MXSender: string(g.MXUser)}
	}
	h.MX.Follow(p.MXReader)
	return receipts, nil
}

// contents returns a message converted for Matrix, with its files, which it carries now,
// and as part of a thread if it is in one.
func (h *messages) contents(ctx context.Context, item queue.Item, p model.Portal, as ids.MXUser, m rocketchat.Message) ([]convert.Content, error) {
	files, rest := convert.Uploads(m)
	look := h.namesInMessage(ctx, m)
	_, span := trace.Step(ctx, "convert")
	contents := convert.ToMatrix(rest, look)
	span.End("")
	if len(files) > 0 {
		media, err := h.files.carry(ctx, item, p, as, m, files)
		if err != nil {
			return nil, err
		}
		contents = withFiles(contents, media, convert.ReplyTarget(rest, look))
	}
	if m.ThreadID == "" || len(contents) == 0 {
		return contents, nil
	}
	root, _, err := h.eventOf(ctx, p, ids.RCMessage(m.ThreadID))
	if err != nil || root == "" {
		return contents, err // the thread is older than the portal
	}
	for i, c := range contents {
		contents[i] = c.Thread(string(root), string(root))
	}
	return contents, nil
}

// command runs a command that was typed as a message. Only the person who typed it sees
// the answer; the message stays where it is.
func (h *messages) command(ctx context.Context, item queue.Item, caller model.Caller, name, params string) {
	if h.Typed != nil && item.Attempts == 0 {
		h.Typed(ctx, caller, name, params)
	}
}

// part names a part of a message; its event carries that name.
func part(message string, i int) string {
	if i == 0 {
		return message
	}
	return fmt.Sprintf("%s#%d", message, i)
}

// withFiles combines a text with its files: a single text is the caption of a single
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

// typedCommand reports whether a message is a command of ours that reached
// Rocket.Chat as a message, because the web server did not see it.
func typedCommand(text string) (name, params string, ok bool) {
	name, params, _ = strings.Cut(strings.TrimSpace(text), " ")
	name = strings.ToLower(name)
	return strings.TrimPrefix(name, "/"), strings.TrimSpace(convert.FirstLine(params)), name == "/bridge" || name == "/federation"
}
