package tomatrix

import (
	"context"
	"errors"
	"slices"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// pins pins messages on Matrix.
type pins struct {
	*base
	RC pinRocketChat
	MX pinMatrix
}

// deliver pins or unpins on Matrix what was pinned or unpinned in Rocket.Chat.
func (h *pins) deliver(ctx context.Context, item queue.Item, in event.RCPinned) error {
	m := in.Message
	p, ok, err := h.portalOf(ctx, m)
	if err != nil || !ok || m.Pinned == nil {
		return err
	}
	target, _, err := h.eventOf(ctx, p, ids.RCMessage(m.ID))
	if err != nil || target == "" {
		return err
	}
	content, _, err := h.MX.State(ctx, p.MXRoom, p.Reader(h.Names), model.StatePins, "")
	if err != nil {
		return model.Outcome(item, err, "")
	}
	pinned, _ := event.ReadState(model.StatePins, content)
	list := pinned.Pinned
	if slices.Contains(list, target) == *m.Pinned {
		return nil
	}
	if list = slices.DeleteFunc(list, func(e ids.MXEvent) bool { return e == target }); *m.Pinned {
		list = append(list, target)
	}
	as, err := h.whoPinned(ctx, p, m)
	if err != nil {
		return model.Outcome(item, err, "")
	}
	err = h.State.Set(ctx, p, as, model.StatePins, map[string]any{"pinned": append([]ids.MXEvent{}, list...)})
	if errors.Is(err, model.ErrForbidden) {
		h.Log.Info("the Matrix room does not allow the pin", "mx_room", p.MXRoom)
		return nil
	}
	if err == nil {
		err = h.State.KnowPins(ctx, p.MXRoom, list)
	}
	return model.Outcome(item, err, "the Matrix server refused it")
}

// whoPinned returns the Matrix user that pins for the person who pinned in Rocket.Chat.
func (h *pins) whoPinned(ctx context.Context, p model.Portal, m rocketchat.Message) (ids.MXUser, error) {
	if m.PinnedBy == nil || h.RC.IsBridge(ids.RCUser(m.PinnedBy.ID)) {
		return p.Reader(h.Names), nil
	}
	if mine, err := h.People.IsPuppet(ctx, ids.RCUser(m.PinnedBy.ID)); err != nil || mine {
		return p.Reader(h.Names), err
	}
	who, ok, err := h.RC.UserByID(ctx, ids.RCUser(m.PinnedBy.ID))
	if err != nil || !ok {
		return p.Reader(h.Names), err
	}
	g, err := h.People.Ghost(ctx, who)
	return g.MXUser, err
}
