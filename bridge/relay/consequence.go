package relay

import (
	"context"
	"fmt"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// deadLetterTxn begins what the transaction ID of a notice about a dead letter is derived
// from. It stays as earlier releases wrote it: a homeserver that has seen the ID does not
// show the notice twice.
const deadLetterTxn = "buried "

// noticeTimeout bounds how long telling a sender may take.
const noticeTimeout = 30 * time.Second

// deadLetter tells the sender of an item that it was given up, and why: in a direct message
// in Rocket.Chat, in the room on Matrix.
func (r *Relay) deadLetter(ctx context.Context, item queue.Item, cause error) {
	ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	var err error
	switch item.Kind {
	case model.KindRCMessage, model.KindRCEdit, model.KindRCFiles:
		m, perr := convert.ParseMessage(item.Payload)
		if perr != nil {
			return
		}
		err = r.RC.Tell(ctx, model.PersonOf(m.User),
			fmt.Sprintf("Your %s from %s was not carried to Matrix: %s.", thing(item.Kind), m.Time.Format("15:04 MST"), queue.Sentence(cause)))
	case model.KindMXMessage, model.KindMXFile, model.KindMXPoll:
		e, perr := convert.ParseEvent(item.Payload)
		if perr != nil {
			return
		}
		p, ok, perr := r.Store.PortalByMX(ctx, ids.MXRoom(e.Room))
		if perr != nil || !ok {
			return
		}
		if r.parts.admission.ToldRecently(e.Sender, e.Room, cause) {
			return
		}
		err = r.MX.Notice(ctx, p.MXRoom, p.Reader(r.Names), ids.Transaction(p.Reader(r.Names), deadLetterTxn+item.ID, 0),
			fmt.Sprintf("%s: your last %s was not carried to Rocket.Chat: %s.", e.Sender, thing(item.Kind), queue.Sentence(cause)))
	default:
		return
	}
	if err != nil {
		r.Log.Warn("the sender of a dead letter could not be told", "item", item.ID, "err", err)
	}
}

// thing is what an item is to the person who made it.
func thing(kind string) string {
	switch kind {
	case model.KindRCEdit:
		return "edit of the message"
	case model.KindRCFiles, model.KindMXFile:
		return "file"
	case model.KindMXPoll:
		return "poll"
	}
	return "message"
}
