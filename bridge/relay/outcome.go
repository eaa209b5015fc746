package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// maxPause is the longest pause between attempts while a side does not answer:
// people wait for the conversation to come back.
const maxPause = 15 * time.Second

// outcome turns an error of a side into one that the queue understands.
func outcome(item queue.Item, err error, refused string) error {
	if err == nil {
		return nil
	}
	if w, ok := errors.AsType[*WaitError](err); ok {
		return queue.Later(max(w.After, 200*time.Millisecond), err)
	}
	switch {
	case errors.Is(err, ErrSlow):
		return err // counts: the file may never arrive
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return queue.Later(min(maxPause, queue.Backoff(min(item.Attempts, 10))), err)
	case errors.Is(err, ErrNoAccount):
		return queue.Permanent("your account in Rocket.Chat was deleted or deactivated by its administrator", err)
	case errors.Is(err, ErrTooMany):
		return queue.Permanent("too many new people of your server came to this Rocket.Chat today", err)
	case errors.Is(err, ErrOutsider):
		return queue.Permanent("it is a direct message in Rocket.Chat, and you are not in it there", err)
	case errors.Is(err, ErrRefused):
		return queue.Permanent(refused, err)
	}
	return err
}

// tellSender puts a word about a buried item into the room it came from.
func (r *Relay) tellSender(ctx context.Context, item queue.Item, cause error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var err error
	switch item.Kind {
	case KindRCMessage, KindRCEdit, KindRCFiles:
		m, perr := convert.ParseMessage(item.Payload)
		if perr != nil {
			return
		}
		err = r.RC.Tell(ctx, RCPerson{ID: ids.RCUser(m.User.ID), Username: m.User.Username, Name: m.User.Name},
			fmt.Sprintf("Your %s from %s was not carried to Matrix: %s.", thing(item.Kind), m.Time.Format("15:04 MST"), queue.Sentence(cause)))
	case KindMXMessage, KindMXFile, KindMXPoll:
		e, perr := convert.ParseEvent(item.Payload)
		if perr != nil {
			return
		}
		p, ok, perr := r.Store.PortalByMX(ctx, ids.MXRoom(e.Room))
		if perr != nil || !ok {
			return
		}
		if r.toldAlready(e.Sender, e.Room, cause) {
			return
		}
		err = r.MX.Notice(ctx, p.MXRoom, r.reader(p), ids.Transaction(r.reader(p), "buried "+item.ID, 0),
			fmt.Sprintf("%s: your last %s was not carried to Rocket.Chat: %s.", e.Sender, thing(item.Kind), queue.Sentence(cause)))
	default:
		return
	}
	if err != nil {
		r.Log.Warn("the sender of a buried item could not be told", "item", item.ID, "err", err)
	}
}

// thing is what an item is to the person who made it.
func thing(kind string) string {
	switch kind {
	case KindRCEdit:
		return "edit of the message"
	case KindRCFiles, KindMXFile:
		return "file"
	case KindMXPoll:
		return "poll"
	}
	return "message"
}

func person(u rocketchat.UserRef) RCPerson {
	return RCPerson{ID: ids.RCUser(u.ID), Username: u.Username, Name: u.Name}
}
