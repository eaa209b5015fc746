package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // sizes of pictures
	_ "image/jpeg"
	_ "image/png"
	"io"
	"net/http"
	"time"

	_ "golang.org/x/image/webp" // its size, too: the standard library reads no WebP

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// fileAttempts is how often a message is tried before its file has to follow
// later: what was written after it waits no longer.
const fileAttempts = 4

// latePart is the first part of a message that is a file which followed later.
const latePart = 100

// late names the item of files that follow later.
func late(name string) string { return name + ":files" }

// filesToMatrix carries the files of a message and returns their events, each
// with the caption that is given for it. What does not arrive now follows in a
// lane of its own; what never will is replaced by a line that says so.
func (r *Relay) filesToMatrix(ctx context.Context, item queue.Item, p Portal, as ids.MXUser, m rocketchat.Message, files []convert.RocketFile) ([]convert.Content, error) {
	var out []convert.Content
	var missing []convert.RocketFile
	for _, f := range files {
		c, err := r.fileToMatrix(ctx, p, as, f)
		switch {
		case err == nil:
			out = append(out, c)
		case refusedFile(err):
			out = append(out, r.insteadOnMatrix(ctx, f, err))
			r.tellAuthor(ctx, m, fmt.Sprintf("Your file %q was not carried to Matrix: %s.", convert.FileName(f.Name, ""), r.whyNotMatrix(ctx, err)))
		case item.Kind == KindRCMessage && item.Attempts >= fileAttempts && ctx.Err() == nil:
			r.Log.Warn("a file follows later", "item", item.ID, "err", err)
			missing = append(missing, f)
		default:
			return nil, err
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	return out, r.laterToMatrix(ctx, m, missing)
}

// laterToMatrix stores that files of a message are still to come.
func (r *Relay) laterToMatrix(ctx context.Context, m rocketchat.Message, missing []convert.RocketFile) error {
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
	payload, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	room := ids.RCRoom(m.RoomID)
	return r.Accept(ctx, []queue.Item{{ID: late("rc:" + m.ID), Lane: queue.FilesLane(RCLane(room)), Kind: KindRCFiles, Payload: payload}}, nil)
}

// refusedFile reports whether no repetition will carry a file.
func refusedFile(err error) bool {
	return errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden)
}

// fileToMatrix carries one file, unless that has been done.
func (r *Relay) fileToMatrix(ctx context.Context, p Portal, as ids.MXUser, f convert.RocketFile) (convert.Content, error) {
	old, ok, err := r.Store.File(ctx, RCFile(f.ID))
	if err != nil {
		return convert.Content{}, err
	}
	if ok {
		info, err := convert.ParseInfo(old.Info)
		return convert.Content{}.WithFile(convert.FileName(f.Name, info.Type), old.Target, info), err
	}
	limits, err := r.MX.Limits(ctx)
	if err != nil {
		return convert.Content{}, err
	}
	if f.Size > limits.File {
		return convert.Content{}, ErrTooLarge
	}
	media, err := r.RC.Open(ctx, p, f.Link, limits.File)
	if err != nil {
		return convert.Content{}, err
	}
	defer func() { _ = media.Body.Close() }()
	body, head := peek(media.Body)
	info := pictureSize(f, head)
	info.Size = media.Size
	info.Type = convert.ContentType(convertType(f.Type, media.Type), f.Name, looks(head))
	name := convert.FileName(f.Name, info.Type)
	counted := &counter{r: body, c: media.Body}
	mxc, err := r.MX.Upload(ctx, as, Media{Name: name, Type: info.Type, Size: media.Size, Body: counted})
	if err != nil {
		return convert.Content{}, err
	}
	info.Size = counted.n
	r.thumbnail(ctx, p, as, f, &info)
	data, err := json.Marshal(info)
	if err != nil {
		return convert.Content{}, err
	}
	if err := r.Store.PutFile(ctx, File{Source: RCFile(f.ID), Target: mxc, Info: string(data), At: time.Now()}); err != nil {
		return convert.Content{}, err
	}
	return convert.Content{}.WithFile(name, mxc, info), nil
}

// pictureSize returns the width and height of a picture, read from the beginning of
// it. What Rocket.Chat says are those of the smaller one that it has made, if it has:
// they serve only where the data does not tell, for their proportion.
func pictureSize(f convert.RocketFile, head []byte) convert.FileInfo {
	if cfg, _, err := image.DecodeConfig(bytes.NewReader(head)); err == nil {
		return convert.FileInfo{Width: cfg.Width, Height: cfg.Height}
	}
	return convert.FileInfo{Width: f.Width, Height: f.Height}
}

// convertType returns the first content type that says anything.
func convertType(types ...string) string {
	for _, t := range types {
		if t != "" && t != "application/octet-stream" {
			return t
		}
	}
	return ""
}

// maxThumb bounds a smaller picture, which is only a convenience.
const maxThumb = 1 << 20

// thumbnail carries the smaller picture that Rocket.Chat has made. Without it
// clients ask their homeserver for one.
func (r *Relay) thumbnail(ctx context.Context, p Portal, as ids.MXUser, f convert.RocketFile, info *convert.FileInfo) {
	if f.Thumb == "" || info.Width == 0 {
		return
	}
	media, err := r.RC.Open(ctx, p, f.Thumb, maxThumb)
	if err != nil {
		return
	}
	defer func() { _ = media.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(media.Body, maxThumb))
	cfg, format, derr := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || derr != nil || int64(len(data)) >= info.Size {
		return // no picture, or no smaller one
	}
	thumb := convert.FileInfo{Type: "image/" + format, Size: int64(len(data)), Width: cfg.Width, Height: cfg.Height}
	mxc, err := r.MX.Upload(ctx, as, Media{Name: "thumbnail", Type: thumb.Type, Size: thumb.Size, Body: io.NopCloser(bytes.NewReader(data))})
	if err == nil {
		info.ThumbURL, info.ThumbInfo = mxc, &thumb
	}
}

// headSize is how much of a file is looked at, in bytes: the size of a JPEG comes
// after up to 64 KB of what a camera writes.
const headSize = 96 << 10

// peek returns a reader of everything, and the beginning of it.
func peek(body io.Reader) (io.Reader, []byte) {
	b := bufio.NewReaderSize(body, headSize)
	head, _ := b.Peek(headSize) // an error shows again when it is read
	return b, head
}

// counter counts what is read.
type counter struct {
	r io.Reader
	c io.Closer
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) Close() error { return c.c.Close() }

// insteadOnMatrix is the line for a file that does not cross.
func (r *Relay) insteadOnMatrix(ctx context.Context, f convert.RocketFile, err error) convert.Content {
	return convert.Content{
		MsgType: "m.notice", Body: convert.Instead(convert.FileName(f.Name, f.Type), f.Size, r.whyNotMatrix(ctx, err)), Mentions: &convert.Mentions{},
	}
}

func (r *Relay) whyNotMatrix(ctx context.Context, err error) string {
	switch {
	case errors.Is(err, ErrTooLarge):
		if limits, lerr := r.MX.Limits(ctx); lerr == nil {
			return "the Matrix server takes files of at most " + convert.Bytes(limits.File)
		}
		return "it is too large for the Matrix server"
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrForbidden):
		return "Rocket.Chat does not have it any more"
	}
	return "the Matrix server refused it"
}

// tellAuthor sends a word to who wrote a message in Rocket.Chat. It is said as
// well as can be, once; nothing waits for it.
func (r *Relay) tellAuthor(ctx context.Context, m rocketchat.Message, text string) {
	if err := r.RC.Tell(ctx, person(m.User), text); err != nil {
		r.Log.Warn("somebody could not be told", "user", m.User.ID, "err", err)
	}
}

// lateFilesToMatrix delivers files that could not be had when their message was
// delivered, as replies to it.
func (r *Relay) lateFilesToMatrix(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	m, p, ok, err := r.ofRocketChat(ctx, item)
	if err != nil || !ok {
		return nil, err
	}
	root, sender, err := r.eventOf(ctx, p, ids.RCMessage(m.ID))
	if err != nil {
		return nil, err
	}
	if sender == "" {
		g, err := r.ghost(ctx, person(m.User))
		if err != nil {
			return nil, outcome(item, err, "")
		}
		sender = g.MXUser
	}
	files, _ := convert.Uploads(m)
	contents, err := r.filesToMatrix(ctx, item, p, sender, m, files)
	if err != nil {
		return nil, outcome(item, err, "the Matrix server refused the file")
	}
	var receipts []queue.Receipt
	for i, c := range contents {
		if root != "" {
			c = c.Reply(string(root))
		}
		event, err := r.send(ctx, p, sender, item, fmt.Sprintf("%s#late%d", m.ID, i), c, m.Time.UnixMilli())
		if err != nil {
			return nil, outcome(item, err, "the Matrix server refused the file")
		}
		receipts = append(receipts, queue.Receipt{Part: latePart + i, RCRoom: m.RoomID, RCMessage: m.ID, MXRoom: string(p.MXRoom), MXEvent: string(event), MXSender: string(sender)})
	}
	return receipts, nil
}

// looks returns what the first bytes of a file look like.
func looks(head []byte) string {
	if len(head) == 0 {
		return ""
	}
	return http.DetectContentType(head)
}
