package torocketchat

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Homeservers that were cut off from each other may deliver a deletion, an edit or a
// reaction minutes before the message that it refers to. An event that came too early is
// kept in a lane of its own and retried; the room continues meanwhile.

// errEarly means that the message that an event refers to has not arrived.
var errEarly = errors.New("the message that it refers to has not arrived")

const (
	// earlyPause is the first pause before an early event is retried; each pause is twice
	// as long as the one before. It is retried earlyAttempts times, for 17 minutes, while
	// the homeserver does not have the message, and knownAttempts times if it does: then
	// the message arrived in the meantime, or is one that the bridge does not carry.
	earlyPause    = 2 * time.Second
	earlyAttempts = 9
	knownAttempts = 3
	// maxEarly is how many early events a process may keep within an hour: anybody can
	// react to messages that do not exist.
	maxEarly = 200
)

// earlyID is the prefix of the ID of an item that is retried.
const earlyID = "early "

func newEarly() *rate.Limiter { return rate.NewLimiter(rate.Every(time.Hour/maxEarly), maxEarly) }

// early decides what happens to an item about an event that has no link. It returns nil
// when there is nothing to wait for.
func (h *base) early(ctx context.Context, item queue.Item, room ids.MXRoom, id, target ids.MXEvent) error {
	kept := item.ID == earlyID+string(id)
	if kept && item.Attempts >= earlyAttempts {
		return nil
	}
	p, ok, err := h.portalOf(ctx, room)
	if err != nil || !ok {
		return err
	}
	_, err = h.MX.Event(ctx, p.MXRoom, p.Reader(h.Names), target)
	missing := errors.Is(err, model.ErrNotFound)
	if err != nil && !missing {
		return model.Outcome(item, model.Ignore(err, model.ErrForbidden, model.ErrRefused), "")
	}
	switch {
	case kept && !missing && item.Attempts >= knownAttempts:
		return nil
	case kept:
		return queue.Later(earlyPause<<item.Attempts, errEarly)
	case !h.Early.Allow():
		return nil
	}
	lane := model.MXLane(room) + ":" + earlyID + string(id)
	return h.Accept(ctx, []queue.Item{{ID: earlyID + string(id), Lane: lane, Kind: item.Kind, Payload: item.Payload}}, nil)
}
