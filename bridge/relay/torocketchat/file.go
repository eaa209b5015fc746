package torocketchat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/transfer"
)

// files carries the files of messages.
type files struct {
	*base
	Store     fileStore
	RC        fileRocketChat
	MX        fileMatrix
	transfers *transfers
}

// carry delivers a file event: the file with its caption, then what has to be a message
// of its own. A file that does not arrive now follows later; a file that is refused is
// replaced by a line of text.
func (h *files) carry(ctx context.Context, item queue.Item, p model.Portal, puppet model.Puppet, in event.MXWritten, thread ids.RCMessage) ([]queue.Receipt, error) {
	e := in.Event
	caption, texts := convert.Caption(e, h.namesInEvent(ctx, p, e))
	message, err := h.fileOrInstead(ctx, item, p, &puppet, e, thread, caption)
	if err != nil && caption != "" {
		texts = append([]string{caption}, texts...) // without the file it is plain text
	}
	switch {
	case err == nil:
	case errors.Is(err, model.ErrNoAccount), errors.Is(err, model.ErrOutsider):
		return nil, model.Outcome(item, err, "")
	case transfer.Refused(err):
		why := h.whyNot(ctx, err)
		texts = append([]string{convert.AsTyped(convert.Instead(e.Name(), size(e), why), h.RC.Dialect(ctx))}, texts...)
		h.Notices.OnMatrix(ctx, p, "file "+item.ID, fmt.Sprintf("%s: the file %q was not carried to Rocket.Chat: %s.", e.Sender, e.Name(), why))
	case item.Kind == event.KindMXMessage && (errors.Is(err, model.ErrSlow) || item.Attempts >= transfer.Attempts) && ctx.Err() == nil:
		if away := transfer.Away(ctx, item.Attempts, h.MX, h.RC); away != nil { // later items would not be delivered either
			return nil, model.Outcome(item, away, "")
		}
		h.Log.Warn("a file will follow later", "item", item.ID, "err", err)
		if err := h.later(ctx, p, event.MXFileLate(in)); err != nil {
			return nil, err
		}
	default:
		return nil, model.Outcome(item, err, "Rocket.Chat refused the file")
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
		if err := h.say(ctx, p, puppet, id, thread, text); err != nil {
			return nil, model.Outcome(item, err, "Rocket.Chat refused it")
		}
		receipt.RCMessage = string(id)
		receipts = append(receipts, receipt)
	}
	return receipts, nil
}

// fileOrInstead is file, but the puppet takes over if the person's own account may
// not upload the file.
func (h *files) fileOrInstead(ctx context.Context, item queue.Item, p model.Portal, as *model.Puppet, e convert.Event, thread ids.RCMessage, caption string) (ids.RCMessage, error) {
	message, err := h.file(ctx, item, p, *as, e, thread, caption)
	if !fallsBack(*as, err) {
		return message, err
	}
	source := model.MXFile(ids.MXEvent(e.ID))
	if _, uploaded, ferr := h.Store.File(ctx, source); ferr != nil {
		return "", ferr
	} else if _, limited := errors.AsType[*model.WaitError](err); limited && uploaded {
		return "", err // the account that uploaded it shows it, a little later
	}
	if err := h.Store.PutFile(ctx, model.File{Source: source}); err != nil { // the puppet uploads it
		return "", err
	}
	if *as, err = h.speaker(ctx, p, as.MXUser); err != nil {
		return "", err
	}
	return h.file(ctx, item, p, *as, e, thread, caption)
}

// file carries the file of an event with the first part of its caption, and returns the
// message that shows it. After a crash it neither uploads the file nor shows the
// message a second time.
func (h *files) file(ctx context.Context, item queue.Item, p model.Portal, puppet model.Puppet, e convert.Event, thread ids.RCMessage, caption string) (ids.RCMessage, error) {
	source := model.MXFile(ids.MXEvent(e.ID))
	file, ok, err := h.Store.File(ctx, source)
	if err != nil {
		return "", err
	}
	ok = ok && file.Target != ""
	// Rocket.Chat keeps an upload for a day if no message shows it.
	if ok && item.Attempts > 0 {
		if message, shown, err := h.RC.FindShown(ctx, puppet, p.RCRoom, file.Target, file.At.Add(-10*time.Minute)); err != nil || shown {
			return message, err
		}
		ok = time.Since(file.At) < 23*time.Hour
	}
	if !ok {
		if file.Target, err = h.upload(ctx, item, p, puppet, e); err != nil {
			return "", err
		}
		file.Source, file.At = source, time.Now()
		if err := h.Store.PutFile(ctx, file); err != nil {
			return "", err
		}
	}
	return h.RC.Show(ctx, puppet, p.RCRoom, file.Target, thread, caption)
}

// upload streams the file of an event to Rocket.Chat. The error is ErrSlow when a message
// must not wait for it any longer.
func (h *files) upload(ctx context.Context, item queue.Item, p model.Portal, puppet model.Puppet, e convert.Event) (file string, err error) {
	limits, err := h.RC.Limits(ctx)
	if err != nil {
		return "", err
	}
	said := convert.FileInfo{}
	if e.Content.Info != nil {
		said = *e.Content.Info
	}
	if said.Size > limits.File {
		return "", model.ErrTooLarge
	}
	carry := func(patience time.Duration) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			file, err = h.stream(ctx, p, puppet, e, limits.File, patience)
			return err
		}
	}
	if item.Kind == event.KindMXFile {
		if err := within(ctx, lateFileTime, carry(lateFilePatience)); err != nil {
			return "", err
		}
		h.transfers.arrived(serverOf(e.Content.URL))
		return file, nil
	}
	return file, h.transfers.prompt(ctx, serverOf(e.Content.URL), said.Size, carry(filePatience))
}

// stream carries the file of an event. A puppet that is not in the room is
// added, as for a message.
func (h *files) stream(ctx context.Context, p model.Portal, puppet model.Puppet, e convert.Event, limit int64, patience time.Duration) (string, error) {
	try := func() (string, error) {
		media, err := h.MX.Download(ctx, e.Content.URL, limit, patience)
		if err != nil {
			return "", err
		}
		defer func() { _ = media.Body.Close() }()
		body, head := transfer.Peek(media.Body)
		said := ""
		if e.Content.Info != nil {
			said = e.Content.Info.Type
		}
		kind := convert.ContentType(transfer.FirstType(said, media.Type), e.Name(), transfer.Looks(head))
		return h.RC.Upload(ctx, puppet, p.RCRoom, model.Media{Name: convert.FileName(e.Name(), kind), Type: kind, Size: media.Size, Body: transfer.NewCounter(body, media.Body)})
	}
	file, err := try()
	switch {
	case !errors.Is(err, model.ErrForbidden):
		return file, err
	case puppet.Own:
		return "", err
	case p.IsDirect():
		return "", errors.Join(model.ErrOutsider, err)
	}
	if err := h.RC.Add(ctx, p, puppet.RCUser); err != nil {
		return "", err
	}
	return try()
}

func (h *files) whyNot(ctx context.Context, err error) string {
	limits, lerr := h.RC.Limits(ctx)
	switch {
	case lerr == nil && limits.File == 0:
		return "this Rocket.Chat does not accept files"
	case lerr == nil && errors.Is(err, model.ErrTooLarge):
		return "Rocket.Chat accepts files of at most " + convert.Bytes(limits.File)
	case errors.Is(err, model.ErrTooLarge):
		return "it is too large for Rocket.Chat"
	case errors.Is(err, model.ErrNotFound):
		return "its server does not have it"
	}
	return "Rocket.Chat does not accept files of this kind"
}

// later queues the file of an event for later delivery.
func (h *files) later(ctx context.Context, p model.Portal, e event.MXFileLate) error {
	item, err := event.Item(transfer.Late(string(e.ID)), queue.FilesLane(model.MXLane(p.MXRoom)), e)
	if err != nil {
		return err
	}
	return h.Accept(ctx, []queue.Item{item}, nil)
}

// late delivers a file that did not arrive when its event was
// delivered.
func (h *files) late(ctx context.Context, item queue.Item, in event.MXFileLate) ([]queue.Receipt, error) {
	e := in.Event
	p, ok, err := h.portalOf(ctx, in.Room)
	if err != nil || !ok {
		return nil, err
	}
	puppet, err := h.author(ctx, p, in.Sender)
	if err != nil {
		return nil, model.Outcome(item, err, "")
	}
	thread, err := h.messageOf(ctx, p, ids.MXEvent(e.Content.Thread))
	if err != nil {
		return nil, err
	}
	message, err := h.fileOrInstead(ctx, item, p, &puppet, e, thread, "")
	if err != nil {
		return nil, lateOutcome(item, err, "Rocket.Chat refused the file")
	}
	return []queue.Receipt{{Part: transfer.LatePart, RCRoom: string(p.RCRoom), RCMessage: string(message), MXRoom: e.Room, MXEvent: e.ID, MXSender: e.Sender}}, nil
}

func size(e convert.Event) int64 {
	if e.Content.Info == nil {
		return 0
	}
	return e.Content.Info.Size
}

// serverOf returns the server of an mxc:// address.
func serverOf(mxc string) string {
	server, _, _ := strings.Cut(strings.TrimPrefix(mxc, "mxc://"), "/")
	return server
}
