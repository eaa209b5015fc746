package torocketchat

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// callFor is how long a call of a whole room counts as the same call: everyone who joins
// sends an event, and repeats it.
const callFor = time.Hour

// calls announces calls that begin on Matrix.
type calls struct {
	*base
	Store callStore
}

// deliver announces a call that has begun on Matrix, which nobody can
// join from Rocket.Chat.
func (h *calls) deliver(ctx context.Context, item queue.Item, e event.MXCall) ([]queue.Receipt, error) {
	p, ok, err := h.portalOf(ctx, e.Room)
	if err != nil || !ok || !e.Begins {
		return nil, err
	}
	if err := h.Admission.Admit(item, e.Sender); err != nil {
		return nil, err
	}
	if same, err := h.sameCall(ctx, p, e); err != nil || same {
		return nil, err
	}
	puppet, err := h.People.Puppet(ctx, e.Sender, "")
	if err == nil {
		p, err = h.Portals.PlaceFor(ctx, p, puppet)
	}
	if err == nil {
		puppet, err = h.Doubles.Author(ctx, p, puppet)
	}
	if err != nil {
		return nil, model.Outcome(item, err, "Rocket.Chat refused to create an account for you")
	}
	id := ids.MessageFor(p.MXRoom, e.ID, 0)
	if err := h.say(ctx, p, puppet, id, "", "_started a call on Matrix, which cannot be joined from Rocket.Chat_"); err != nil {
		return nil, model.Outcome(item, err, "Rocket.Chat refused it")
	}
	return []queue.Receipt{{RCRoom: string(p.RCRoom), RCMessage: string(id), MXRoom: string(e.Room), MXEvent: string(e.ID), MXSender: string(e.Sender)}}, nil
}

// sameCall reports whether an event belongs to a call that was already announced. A call
// between two people begins with an event of its own type.
func (h *calls) sameCall(ctx context.Context, p model.Portal, e event.MXCall) (bool, error) {
	if e.OfTwo {
		return false, nil
	}
	key := "call " + string(p.MXRoom)
	known, err := h.Store.Cursor(ctx, key)
	if err != nil {
		return false, err
	}
	last, at, _ := cutCall(known)
	if last == string(e.ID) { // an earlier attempt
		return false, nil
	}
	same := time.Since(at) < callFor
	if same {
		return true, nil
	}
	return false, h.Store.MoveCursor(ctx, key, fmt.Sprintf("%d %s", time.Now().UnixMilli(), e.ID))
}

// cutCall parses the stored record of a room's last call.
func cutCall(known string) (event string, at time.Time, ok bool) {
	var ms string
	if _, err := fmt.Sscanf(known, "%s %s", &ms, &event); err != nil {
		return "", time.Time{}, false
	}
	n, err := strconv.ParseInt(ms, 10, 64)
	return event, time.UnixMilli(n), err == nil
}
