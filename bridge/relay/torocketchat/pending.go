package torocketchat

import (
	"context"
	"errors"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// People reply and react as soon as their homeserver shows them a message. The bridge may
// not have the response to the request that sent the message yet, or may have lost it:
// then no link says which Rocket.Chat message the event is.

// errUnlinked means that an event refers to one of ours that has no link yet.
var errUnlinked = errors.New("it refers to a message that the homeserver has but that is not delivered yet")

// An event that refers to a message waits for its link: unlinkedPause at first, and twice
// as long each time, at most unlinkedAttempts times, which is three and a half minutes.
const (
	unlinkedPause    = 200 * time.Millisecond
	unlinkedAttempts = 10
)

// linksOf returns the parts of a message, looked up by one of its events. While the link
// of one of our own events is not written yet, it returns an error that requests a retry.
func (h *base) linksOf(ctx context.Context, item queue.Item, room ids.MXRoom, target ids.MXEvent) ([]queue.Receipt, error) {
	links, err := h.Store.LinksByEvent(ctx, target)
	if err != nil || len(links) > 0 || item.Attempts >= unlinkedAttempts {
		return links, err
	}
	p, ok, err := h.portalOf(ctx, room)
	if err != nil || !ok {
		return nil, err
	}
	n, err := h.Store.Waiting(ctx, model.RCLane(p.RCRoom))
	if err != nil {
		return nil, err
	}
	if n > 0 {
		if ours, err := h.sentByUs(ctx, p, target); err != nil {
			return nil, model.Outcome(item, err, "")
		} else if ours {
			return nil, queue.Later(unlinkedPause<<item.Attempts, errUnlinked)
		}
	}
	return h.Store.LinksByEvent(ctx, target) // its delivery may have ended since
}

// sentByUs reports whether an event is a message or reaction sent by the bridge that has
// a link once its delivery has ended.
func (h *base) sentByUs(ctx context.Context, p model.Portal, target ids.MXEvent) (bool, error) {
	raw, err := h.MX.Event(ctx, p.MXRoom, p.Reader(h.Names), target)
	if errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrRefused) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	head, e, err := event.ReadMatrix(raw, p.MXRoom)
	if err != nil || !h.Names.Owns(head.Sender) {
		return false, nil //nolint:nilerr // what cannot be read is not ours
	}
	switch e := e.(type) {
	case event.MXWritten:
		return e.Event.Content.Source != "" && e.Event.Content.Replaces == "", nil
	case event.MXReacted:
		return true, nil
	}
	return false, nil
}
