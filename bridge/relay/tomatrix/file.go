package tomatrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // dimensions of pictures
	_ "image/jpeg"
	_ "image/png"
	"io"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/transfer"
	"appliance/bridge/rocketchat"

	_ "golang.org/x/image/webp" // likewise: the standard library reads no WebP
)

// maxThumb bounds the size of a thumbnail, which is only a convenience.
const maxThumb = 1 << 20

// errOtherRoom means that a message names the upload of another room.
var errOtherRoom = fmt.Errorf("a file of another room: it %w", model.ErrRefused)

// files carries the files of messages.
type files struct {
	*base
	Store fileStore
	RC    fileRocketChat
	MX    fileMatrix
}

// carry carries the files of a message and returns their events, each with the caption
// given for it. A file that does not arrive now follows in a lane of its own; a file that
// is refused is replaced by a line of text.
func (h *files) carry(ctx context.Context, item queue.Item, p model.Portal, as ids.MXUser, m rocketchat.Message, files []convert.RocketFile) ([]convert.Content, error) {
	var out []convert.Content
	var missing []convert.RocketFile
	for _, f := range files {
		c, err := h.file(ctx, p, as, f)
		switch {
		case err == nil:
			out = append(out, c)
		case transfer.Refused(err):
			out = append(out, h.instead(ctx, f, err))
			h.Notices.Author(ctx, m, fmt.Sprintf("Your file %q was not carried to Matrix: %s.", convert.FileName(f.Name, ""), h.whyNot(ctx, err)))
		case item.Kind == event.KindRCMessage && item.Attempts >= transfer.Attempts && ctx.Err() == nil:
			if away := transfer.Away(ctx, item.Attempts, h.MX, h.RC); away != nil { // later items would not be delivered either
				return nil, away
			}
			h.Log.Warn("a file will follow later", "item", item.ID, "err", err)
			missing = append(missing, f)
		default:
			return nil, err
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	return out, h.later(ctx, m, missing)
}

// file carries one file, unless that was done before. A message can name an upload of
// another room (Rocket.Chat's method sendFileMessage asks for no proof), which the bridge
// may read but the people in this room may not. So the room is checked, even for a file
// that was carried before.
func (h *files) file(ctx context.Context, p model.Portal, as ids.MXUser, f convert.RocketFile) (convert.Content, error) {
	here, err := h.RC.HasUpload(ctx, p, f.ID, f.Name)
	if err != nil {
		return convert.Content{}, err
	}
	if !here {
		return convert.Content{}, fmt.Errorf("%w: the upload %s does not belong to the room %s", errOtherRoom, f.ID, p.RCRoom)
	}
	old, ok, err := h.Store.File(ctx, model.RCFile(f.ID))
	if err != nil {
		return convert.Content{}, err
	}
	if ok {
		info, err := convert.ParseInfo(old.Info)
		return convert.Content{}.WithFile(convert.FileName(f.Name, info.Type), old.Target, info), err
	}
	limits, err := h.MX.Limits(ctx)
	if err != nil {
		return convert.Content{}, err
	}
	if f.Size > limits.File {
		return convert.Content{}, model.ErrTooLarge
	}
	media, err := h.RC.Open(ctx, p, f.Link, limits.File)
	if err != nil {
		return convert.Content{}, err
	}
	defer func() { _ = media.Body.Close() }()
	body, head := transfer.Peek(media.Body)
	info := pictureSize(f, head)
	info.Size = media.Size
	info.Type = convert.ContentType(transfer.FirstType(f.Type, media.Type), f.Name, transfer.Looks(head))
	name := convert.FileName(f.Name, info.Type)
	counted := transfer.NewCounter(body, media.Body)
	mxc, err := h.MX.Upload(ctx, as, model.Media{Name: name, Type: info.Type, Size: media.Size, Body: counted})
	if err != nil {
		return convert.Content{}, err
	}
	info.Size = counted.Count()
	h.thumbnail(ctx, p, as, f, &info)
	data, err := json.Marshal(info)
	if err != nil {
		return convert.Content{}, err
	}
	if err := h.Store.PutFile(ctx, model.File{Source: model.RCFile(f.ID), Target: mxc, Info: string(data), At: time.Now()}); err != nil {
		return convert.Content{}, err
	}
	return convert.Content{}.WithFile(name, mxc, info), nil
}

// thumbnail carries the thumbnail that Rocket.Chat has made. Without it, clients request
// one from their homeserver.
func (h *files) thumbnail(ctx context.Context, p model.Portal, as ids.MXUser, f convert.RocketFile, info *convert.FileInfo) {
	if f.Thumb == "" || info.Width == 0 {
		return
	}
	media, err := h.RC.Open(ctx, p, f.Thumb, maxThumb)
	if err != nil {
		return
	}
	defer func() { _ = media.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(media.Body, maxThumb))
	cfg, format, derr := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || derr != nil || int64(len(data)) >= info.Size {
		return // not a picture, or not a smaller one
	}
	thumb := convert.FileInfo{Type: "image/" + format, Size: int64(len(data)), Width: cfg.Width, Height: cfg.Height}
	mxc, err := h.MX.Upload(ctx, as, model.Media{Name: "thumbnail", Type: thumb.Type, Size: thumb.Size, Body: io.NopCloser(bytes.NewReader(data))})
	if err == nil {
		info.ThumbURL, info.ThumbInfo = mxc, &thumb
	}
}

// instead returns the line of text for a file that is not relayed.
func (h *files) instead(ctx context.Context, f convert.RocketFile, err error) convert.Content {
	return convert.Content{
		MsgType: "m.notice", Body: convert.Instead(convert.FileName(f.Name, f.Type), f.Size, h.whyNot(ctx, err)), Mentions: &convert.Mentions{},
	}
}

func (h *files) whyNot(ctx context.Context, err error) string {
	switch {
	case errors.Is(err, model.ErrTooLarge):
		if limits, lerr := h.MX.Limits(ctx); lerr == nil {
			return "the Matrix server accepts files of at most " + convert.Bytes(limits.File)
		}
		return "it is too large for the Matrix server"
	case errors.Is(err, errOtherRoom):
		return "it belongs to another room"
	case errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrForbidden):
		return "Rocket.Chat no longer has it"
	}
	return "the Matrix server refused it"
}

// later queues the missing files of a message for later delivery.
func (h *files) later(ctx context.Context, m rocketchat.Message, missing []convert.RocketFile) error {
	wanted := map[string]bool{}
	for _, f := range missing {
		wanted[f.Link] = true
	}
	rest := m
	rest.Text, rest.Attachments = "", nil
	for _, a := range m.Attachments {
		if wanted[a.TitleLink] {
			a.Description = ""
			rest.Attachments = append(rest.Attachments, a)
		}
	}
	lane := queue.FilesLane(model.RCLane(ids.RCRoom(m.RoomID)))
	item, err := event.Item(transfer.Late("rc:"+m.ID), lane, event.RCFilesLate{Message: rest})
	if err != nil {
		return err
	}
	return h.Accept(ctx, []queue.Item{item}, nil)
}

// late delivers files that did not arrive when their message was
// delivered, as replies to it.
func (h *files) late(ctx context.Context, item queue.Item, in event.RCFilesLate) ([]queue.Receipt, error) {
	m := in.Message
	p, ok, err := h.portalOf(ctx, m)
	if err != nil || !ok {
		return nil, err
	}
	root, sender, err := h.eventOf(ctx, p, ids.RCMessage(m.ID))
	if err != nil {
		return nil, err
	}
	if sender == "" {
		g, err := h.People.Ghost(ctx, model.PersonOf(m.User))
		if err != nil {
			return nil, model.Outcome(item, err, "")
		}
		sender = g.MXUser
	}
	files, _ := convert.Uploads(m)
	contents, err := h.carry(ctx, item, p, sender, m, files)
	if err != nil {
		return nil, model.Outcome(item, err, "the Matrix server refused the file")
	}
	var receipts []queue.Receipt
	for i, c := range contents {
		if root != "" {
			c = c.Reply(string(root))
		}
		event, err := h.send(ctx, p, sender, item, fmt.Sprintf("%s#late%d", m.ID, i), c, m.Time.UnixMilli())
		if err != nil {
			return nil, model.Outcome(item, err, "the Matrix server refused the file")
		}
		receipts = append(receipts, queue.Receipt{Part: transfer.LatePart + i, RCRoom: m.RoomID, RCMessage: m.ID, MXRoom: string(p.MXRoom), MXEvent: string(event), MXSender: string(sender)})
	}
	return receipts, nil
}

// pictureSize returns the width and height of a picture, read from its first bytes. The
// values that Rocket.Chat gives are those of its thumbnail, if it has made one: they are
// used, for their proportion, only if the data does not tell.
func pictureSize(f convert.RocketFile, head []byte) convert.FileInfo {
	if cfg, _, err := image.DecodeConfig(bytes.NewReader(head)); err == nil {
		return convert.FileInfo{Width: cfg.Width, Height: cfg.Height}
	}
	return convert.FileInfo{Width: f.Width, Height: f.Height}
}
