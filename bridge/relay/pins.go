package relay

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// statePins is the type of the state event that lists what is pinned in a room.
const statePins = "m.room.pinned_events"

// maxPins bounds how many pinned events of a room are looked at, the newest ones.
const maxPins = 100

// pinsCursor names the cursor that holds what was last known to be pinned in a Matrix
// room, so that only what has changed since crosses.
func pinsCursor(room ids.MXRoom) string { return "pins " + string(room) }

// pinned reads the content of m.room.pinned_events.
func pinned(content json.RawMessage) []ids.MXEvent {
	var c struct {
		Pinned []ids.MXEvent `json:"pinned"`
	}
	_ = json.Unmarshal(content, &c) // what is no list is none
	return c.Pinned[max(0, len(c.Pinned)-maxPins):]
}

func (r *Relay) knownPins(ctx context.Context, room ids.MXRoom) ([]ids.MXEvent, error) {
	known, err := r.Store.Cursor(ctx, pinsCursor(room))
	var list []ids.MXEvent
	_ = json.Unmarshal([]byte(known), &list) // "" at first
	return list, err
}

func (r *Relay) knowPins(ctx context.Context, room ids.MXRoom, list []ids.MXEvent) error {
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return r.Store.MoveCursor(ctx, pinsCursor(room), string(data))
}

// pinToMatrix pins on Matrix what somebody pinned in Rocket.Chat, or takes it off.
func (r *Relay) pinToMatrix(ctx context.Context, item queue.Item) error {
	m, p, ok, err := r.ofRocketChat(ctx, item)
	if err != nil || !ok || m.Pinned == nil {
		return err
	}
	event, _, err := r.eventOf(ctx, p, ids.RCMessage(m.ID))
	if err != nil || event == "" {
		return err
	}
	content, _, err := r.MX.State(ctx, p.MXRoom, r.reader(p), statePins, "")
	if err != nil {
		return outcome(item, err, "")
	}
	list := pinned(content)
	if slices.Contains(list, event) == *m.Pinned {
		return nil
	}
	if list = slices.DeleteFunc(list, func(e ids.MXEvent) bool { return e == event }); *m.Pinned {
		list = append(list, event)
	}
	as, err := r.whoPinned(ctx, p, m)
	if err != nil {
		return outcome(item, err, "")
	}
	err = r.setState(ctx, p, as, statePins, map[string]any{"pinned": append([]ids.MXEvent{}, list...)})
	if errors.Is(err, ErrForbidden) {
		r.Log.Info("the room on Matrix does not allow to pin", "mx_room", p.MXRoom)
		return nil
	}
	if err == nil {
		err = r.knowPins(ctx, p.MXRoom, list)
	}
	return outcome(item, err, "the Matrix server refused it")
}

// whoPinned returns who of ours pins on Matrix for who pinned in Rocket.Chat.
func (r *Relay) whoPinned(ctx context.Context, p Portal, m rocketchat.Message) (ids.MXUser, error) {
	if m.PinnedBy == nil || r.RC.IsBridge(ids.RCUser(m.PinnedBy.ID)) {
		return r.reader(p), nil
	}
	if mine, err := r.ours(ctx, ids.RCUser(m.PinnedBy.ID)); err != nil || mine {
		return r.reader(p), err
	}
	who, ok, err := r.RC.UserByID(ctx, ids.RCUser(m.PinnedBy.ID))
	if err != nil || !ok {
		return r.reader(p), err
	}
	g, err := r.ghost(ctx, who)
	return g.MXUser, err
}

// pinsToRocketChat pins in Rocket.Chat what somebody pinned on Matrix, and takes off
// what they took off.
func (r *Relay) pinsToRocketChat(ctx context.Context, p Portal, e convert.Event, content json.RawMessage) error {
	now := pinned(content)
	was, err := r.knownPins(ctx, p.MXRoom)
	if err != nil {
		return err
	}
	for _, event := range was {
		if !slices.Contains(now, event) {
			err = errors.Join(err, r.pin(ctx, p, e, event, false))
		}
	}
	for _, event := range now {
		if !slices.Contains(was, event) {
			err = errors.Join(err, r.pin(ctx, p, e, event, true))
		}
	}
	if err != nil {
		return err
	}
	return r.knowPins(ctx, p.MXRoom, now)
}

// pin pins one message, as the puppet of who did so on Matrix, or, where that may not,
// as the bridge account: the room on Matrix has allowed it.
func (r *Relay) pin(ctx context.Context, p Portal, e convert.Event, event ids.MXEvent, on bool) error {
	message, err := r.messageOf(ctx, p, event)
	if err != nil || message == "" {
		return err
	}
	puppet, err := r.puppet(ctx, ids.MXUser(e.Sender), "")
	if err != nil {
		return err
	}
	err = r.RC.Pin(ctx, &puppet, message, on)
	if errors.Is(err, ErrForbidden) {
		err = r.RC.Pin(ctx, nil, message, on)
	}
	return ignore(err, ErrForbidden, ErrNotFound, ErrRefused)
}
