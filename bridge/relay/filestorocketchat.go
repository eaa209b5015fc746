package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// fileToRocketChat carries the file of an event with the first part of its
// caption, and returns the message that shows it. It is settled after a crash:
// what was uploaded is not uploaded again, and what is shown is not shown again.
func (r *Relay) fileToRocketChat(ctx context.Context, item queue.Item, p Portal, puppet Puppet, e convert.Event, thread ids.RCMessage, caption string) (ids.RCMessage, error) {
	event := ids.MXEvent(e.ID)
	file, ok, err := r.Store.File(ctx, MXFile(event))
	if err != nil {
		return "", err
	}
	// A day is what Rocket.Chat keeps an upload for that nothing shows.
	if ok && item.Attempts > 0 {
		if message, shown, err := r.RC.FindShown(ctx, puppet, p.RCRoom, file.Target, file.At.Add(-10*time.Minute)); err != nil || shown {
			return message, err
		}
		ok = time.Since(file.At) < 23*time.Hour
	}
	if !ok {
		if file.Target, err = r.upload(ctx, item, p, puppet, e); err != nil {
			return "", err
		}
		file.Source, file.At = MXFile(event), time.Now()
		if err := r.Store.PutFile(ctx, file); err != nil {
			return "", err
		}
	}
	return r.RC.Show(ctx, puppet, p.RCRoom, file.Target, thread, caption)
}

// upload brings the file of an event into Rocket.Chat, in one stream. The error is
// ErrSlow when a message must not wait for it any longer.
func (r *Relay) upload(ctx context.Context, item queue.Item, p Portal, puppet Puppet, e convert.Event) (file string, err error) {
	limits, err := r.RC.Limits(ctx)
	if err != nil {
		return "", err
	}
	said := convert.FileInfo{}
	if e.Content.Info != nil {
		said = *e.Content.Info
	}
	if said.Size > limits.File {
		return "", ErrTooLarge
	}
	carry := func(patience time.Duration) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			file, err = r.stream(ctx, p, puppet, e, limits.File, patience)
			return err
		}
	}
	if item.Kind == KindMXFile {
		return file, within(ctx, lateFileTime, carry(lateFilePatience))
	}
	return file, r.transfers.prompt(ctx, serverOf(e.Content.URL), said.Size, carry(filePatience))
}

// serverOf returns the server of an mxc:// address.
func serverOf(mxc string) string {
	server, _, _ := strings.Cut(strings.TrimPrefix(mxc, "mxc://"), "/")
	return server
}

// stream carries the file of an event. A puppet that is not in the room is let in, as
// for a message.
func (r *Relay) stream(ctx context.Context, p Portal, puppet Puppet, e convert.Event, limit int64, patience time.Duration) (string, error) {
	try := func() (string, error) {
		media, err := r.MX.Download(ctx, e.Content.URL, limit, patience)
		if err != nil {
			return "", err
		}
		defer func() { _ = media.Body.Close() }()
		body, head := peek(media.Body)
		said := ""
		if e.Content.Info != nil {
			said = e.Content.Info.Type
		}
		kind := convert.ContentType(convertType(said, media.Type), e.Name(), looks(head))
		return r.RC.Upload(ctx, puppet, p.RCRoom, Media{Name: convert.FileName(e.Name(), kind), Type: kind, Size: media.Size, Body: &counter{r: body, c: media.Body}})
	}
	file, err := try()
	switch {
	case !errors.Is(err, ErrForbidden):
		return file, err
	case p.RCType == directRoom:
		return "", errors.Join(ErrOutsider, err)
	}
	if err := r.RC.Add(ctx, p, puppet.RCUser); err != nil {
		return "", err
	}
	return try()
}

// mediaToRocketChat delivers an event that is a file: the file with its caption,
// then what of the caption is too long for one message. A file that cannot be
// had now follows later, one that never can is replaced by a line.
func (r *Relay) mediaToRocketChat(ctx context.Context, item queue.Item, p Portal, puppet Puppet, e convert.Event, thread ids.RCMessage) ([]queue.Receipt, error) {
	texts := convert.Caption(e, r.namesInEvent(ctx, p, e))
	caption := ""
	if len(texts) > 0 {
		caption = texts[0]
	}
	message, err := r.fileToRocketChat(ctx, item, p, puppet, e, thread, caption)
	switch {
	case err == nil:
		if len(texts) > 0 {
			texts = texts[1:]
		}
	case errors.Is(err, ErrNoAccount), errors.Is(err, ErrOutsider):
		return nil, outcome(item, err, "")
	case refusedFile(err):
		why := r.whyNotRocketChat(ctx, err)
		texts = append([]string{convert.AsTyped(convert.Instead(e.Name(), size(e), why), r.RC.Dialect(ctx))}, texts...)
		r.tellOnMatrix(ctx, p, "file "+item.ID, fmt.Sprintf("%s: the file %q was not carried to Rocket.Chat: %s.", e.Sender, e.Name(), why))
	case item.Kind == KindMXMessage && (errors.Is(err, ErrSlow) || item.Attempts >= fileAttempts) && ctx.Err() == nil:
		r.Log.Warn("a file follows later", "item", item.ID, "err", err)
		if err := r.Accept(ctx, []queue.Item{{ID: late(e.ID), Lane: queue.FilesLane(MXLane(p.MXRoom)), Kind: KindMXFile, Payload: item.Payload}}, nil); err != nil {
			return nil, err
		}
	default:
		return nil, outcome(item, err, "Rocket.Chat refused the file")
	}
	receipt := queue.Receipt{RCRoom: string(p.RCRoom), MXRoom: e.Room, MXEvent: e.ID, MXSender: e.Sender}
	var receipts []queue.Receipt
	if message != "" {
		receipt.RCMessage = string(message)
		receipts = append(receipts, receipt)
	}
	for _, text := range texts {
		receipt.Part = len(receipts)
		id := ids.MessageFor(p.MXRoom, ids.MXEvent(e.ID), receipt.Part)
		if err := r.say(ctx, p, puppet, id, thread, text); err != nil {
			return nil, outcome(item, err, "Rocket.Chat refused it")
		}
		receipt.RCMessage = string(id)
		receipts = append(receipts, receipt)
	}
	return receipts, nil
}

func size(e convert.Event) int64 {
	if e.Content.Info == nil {
		return 0
	}
	return e.Content.Info.Size
}

func (r *Relay) whyNotRocketChat(ctx context.Context, err error) string {
	limits, lerr := r.RC.Limits(ctx)
	switch {
	case lerr == nil && limits.File == 0:
		return "this Rocket.Chat takes no files"
	case lerr == nil && errors.Is(err, ErrTooLarge):
		return "Rocket.Chat takes files of at most " + convert.Bytes(limits.File)
	case errors.Is(err, ErrTooLarge):
		return "it is too large for Rocket.Chat"
	case errors.Is(err, ErrNotFound):
		return "its server does not have it"
	}
	return "Rocket.Chat does not take files of this kind"
}

// tellOnMatrix puts a word of the bridge into a Matrix room, once for each about.
func (r *Relay) tellOnMatrix(ctx context.Context, p Portal, about, text string) {
	reader := r.reader(p)
	if err := r.MX.Notice(ctx, p.MXRoom, reader, ids.Transaction(reader, about, 0), text); err != nil {
		r.Log.Warn("a word could not be said on Matrix", "mx_room", p.MXRoom, "err", err)
	}
}

// lateFileToRocketChat delivers a file that could not be had when its event was
// delivered.
func (r *Relay) lateFileToRocketChat(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	e, p, ok, err := r.ofMatrix(ctx, item)
	if err != nil || !ok {
		return nil, err
	}
	puppet, err := r.speaker(ctx, p, ids.MXUser(e.Sender))
	if err != nil {
		return nil, outcome(item, err, "")
	}
	thread, err := r.messageOf(ctx, p, ids.MXEvent(e.Content.Thread))
	if err != nil {
		return nil, err
	}
	message, err := r.fileToRocketChat(ctx, item, p, puppet, e, thread, "")
	if err != nil {
		return nil, lateOutcome(item, err, "Rocket.Chat refused the file")
	}
	return []queue.Receipt{{Part: latePart, RCRoom: string(p.RCRoom), RCMessage: string(message), MXRoom: e.Room, MXEvent: e.ID, MXSender: e.Sender}}, nil
}
