package torocketchat

import (
	"context"
	"errors"
	"slices"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// pins pins messages in Rocket.Chat.
type pins struct {
	*base
	RC pinRocketChat
}

// follow pins and unpins in Rocket.Chat what was pinned and unpinned on Matrix.
func (h *pins) follow(ctx context.Context, p model.Portal, e event.MXRoom) error {
	now := e.State.Pinned
	was, err := h.State.KnownPins(ctx, p.MXRoom)
	if err != nil {
		return err
	}
	for _, id := range was {
		if !slices.Contains(now, id) {
			err = errors.Join(err, h.pin(ctx, p, e.Sender, id, false))
		}
	}
	for _, id := range now {
		if !slices.Contains(was, id) {
			err = errors.Join(err, h.pin(ctx, p, e.Sender, id, true))
		}
	}
	if err != nil {
		return err
	}
	return h.State.KnowPins(ctx, p.MXRoom, now)
}

// pin pins or unpins one message as the puppet of the person who did so on Matrix, or, if
// that may not, as the bridge account: the Matrix room has allowed it.
func (h *pins) pin(ctx context.Context, p model.Portal, by ids.MXUser, id ids.MXEvent, on bool) error {
	message, err := h.messageOf(ctx, p, id)
	if err != nil || message == "" {
		return err
	}
	puppet, err := h.People.Puppet(ctx, by, "")
	if err != nil {
		return err
	}
	err = h.RC.Pin(ctx, &puppet, message, on)
	if errors.Is(err, model.ErrForbidden) {
		err = h.RC.Pin(ctx, nil, message, on)
	}
	return model.Ignore(err, model.ErrForbidden, model.ErrNotFound, model.ErrRefused)
}
