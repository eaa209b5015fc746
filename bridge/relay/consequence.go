package relay

import (
	"context"
	"fmt"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// deadLetterTxn prefixes the text from which the transaction ID of a dead letter notice
// is derived. It stays as earlier releases wrote it: a homeserver that has seen the ID
// does not show the notice twice.
const deadLetterTxn = "buried "

// noticeTimeout bounds how long notifying a sender may take.
const noticeTimeout = 30 * time.Second

// deadLetter notifies the sender of an item that it became a dead letter, and why: by
// direct message in Rocket.Chat, and in the room on Matrix.
func (r *Relay) deadLetter(ctx context.Context, item queue.Item, cause error) {
	if r.GaveUp != nil {
		r.GaveUp(item.Kind, model.Reason(cause.Error()))
	}
	ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	e, err := event.Decode(item.Kind, item.Payload)
	if err != nil {
		return // the sender is unknown
	}
	sender, _ := event.By(e)
	r.heard(sender, true)
	switch e := e.(type) {
	case event.RCWritten:
		err = r.tellAuthor(ctx, e.Message, "message", cause)
	case event.RCEdited:
		err = r.tellAuthor(ctx, e.Message, "edit of the message", cause)
	case event.RCFilesLate:
		err = r.tellAuthor(ctx, e.Message, "file", cause)
	case event.MXWritten:
		err = r.tellSender(ctx, item, e.MXHead, "message", cause)
	case event.MXFileLate:
		err = r.tellSender(ctx, item, e.MXHead, "file", cause)
	case event.MXPoll:
		err = r.tellSender(ctx, item, e.MXHead, "poll", cause)
	}
	if err != nil {
		r.Log.Warn("the sender of a dead letter could not be notified", "item", item.ID, "err", err)
	}
}

// tellAuthor notifies the author of a Rocket.Chat message that it, its edit or its file was given up.
func (r *Relay) tellAuthor(ctx context.Context, m rocketchat.Message, what string, cause error) error {
	if r.parts.admission.ToldRecently(m.User.ID, m.RoomID, cause) {
		return nil
	}
	return r.RC.Tell(ctx, model.PersonOf(m.User),
		fmt.Sprintf("Your %s from %s was not carried to Matrix: %s.", what, m.Time.Format("15:04 MST"), queue.Sentence(cause)))
}

// tellSender notifies the sender of a Matrix event, in its room, that the event was given up.
func (r *Relay) tellSender(ctx context.Context, item queue.Item, e event.MXHead, what string, cause error) error {
	p, ok, err := r.Store.PortalByMX(ctx, e.Room)
	if err != nil || !ok || r.parts.admission.ToldRecently(string(e.Sender), string(e.Room), cause) {
		return err
	}
	return r.MX.Notice(ctx, p.MXRoom, p.Reader(r.Names), ids.Transaction(p.Reader(r.Names), deadLetterTxn+item.ID, 0),
		fmt.Sprintf("%s: your last %s was not carried to Rocket.Chat: %s.", e.Sender, what, queue.Sentence(cause)))
}
