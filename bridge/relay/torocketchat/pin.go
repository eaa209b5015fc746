package torocketchat

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/roomstate"
)

// pins pins messages in Rocket.Chat.
type pins struct {
	*base
	RC pinRocketChat
}

// follow pins in Rocket.Chat what was pinned on Matrix, and takes off
// what they took off.
func (h *pins) follow(ctx context.Context, p model.Portal, e convert.Event, content json.RawMessage) error {
	now := roomstate.Pinned(content)
	was, err := h.State.KnownPins(ctx, p.MXRoom)
	if err != nil {
		return err
	}
	for _, event := range was {
		if !slices.Contains(now, event) {
			err = errors.Join(err, h.pin(ctx, p, e, event, false))
		}
	}
	for _, event := range now {
		if !slices.Contains(was, event) {
			err = errors.Join(err, h.pin(ctx, p, e, event, true))
		}
	}
	if err != nil {
		return err
	}
	return h.State.KnowPins(ctx, p.MXRoom, now)
}

// pin pins one message, as the puppet of who did so on Matrix, or, where that may not,
// as the bridge account: the room on Matrix has allowed it.
func (h *pins) pin(ctx context.Context, p model.Portal, e convert.Event, event ids.MXEvent, on bool) error {
	message, err := h.messageOf(ctx, p, event)
	if err != nil || message == "" {
		return err
	}
	puppet, err := h.People.Puppet(ctx, ids.MXUser(e.Sender), "")
	if err != nil {
		return err
	}
	err = h.RC.Pin(ctx, &puppet, message, on)
	if errors.Is(err, model.ErrForbidden) {
		err = h.RC.Pin(ctx, nil, message, on)
	}
	return model.Ignore(err, model.ErrForbidden, model.ErrNotFound, model.ErrRefused)
}
