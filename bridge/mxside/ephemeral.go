package mxside

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Ephemeral takes typing, receipts and presence as they arrive; *relay.Relay implements it.
type Ephemeral interface {
	TypingOnMatrix(ctx context.Context, room ids.MXRoom, users []ids.MXUser)
	ReadOnMatrix(room ids.MXRoom, user ids.MXUser)
	PresenceOnMatrix(user ids.MXUser, is model.Presence)
}

// ephemeral sends ghosts' typing, receipts and presence, and hands over those of Matrix users.
type ephemeral struct {
	*client
	to Ephemeral
}

// ephemeralEvent is an event that homeservers do not store: m.typing, m.receipt or
// m.presence.
type ephemeralEvent struct {
	Type    string          `json:"type"`
	Room    ids.MXRoom      `json:"room_id"`
	Sender  ids.MXUser      `json:"sender"`
	Content json.RawMessage `json:"content"`
}

// receive hands over the events of a transaction (MSC2409) or a /sync. room is
// given if the event does not name it.
func (x *ephemeral) receive(ctx context.Context, events []json.RawMessage, room ids.MXRoom) {
	for _, raw := range events {
		var e ephemeralEvent
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		if room != "" {
			e.Room = room
		}
		switch e.Type {
		case "m.typing":
			var c struct {
				Users []ids.MXUser `json:"user_ids"`
			}
			if json.Unmarshal(e.Content, &c) == nil && e.Room != "" {
				x.to.TypingOnMatrix(ctx, e.Room, c.Users)
			}
		case "m.receipt":
			for _, user := range readers(e.Content) {
				x.to.ReadOnMatrix(e.Room, user)
			}
		case "m.presence":
			var c struct {
				Presence string `json:"presence"`
			}
			if json.Unmarshal(e.Content, &c) == nil && e.Sender != "" {
				x.to.PresenceOnMatrix(e.Sender, presences[c.Presence])
			}
		}
	}
}

var presences = map[string]model.Presence{"online": model.Online, "unavailable": model.Away, "offline": model.Offline, "": model.Offline}

// readers returns the users who have read something: {"$event": {"m.read": {"@user": {...}}}}.
func readers(content json.RawMessage) []ids.MXUser {
	var c map[string]map[string]map[ids.MXUser]json.RawMessage
	if json.Unmarshal(content, &c) != nil {
		return nil
	}
	users := map[ids.MXUser]bool{}
	for _, kinds := range c {
		for user := range kinds["m.read"] {
			users[user] = true
		}
	}
	return slices.Collect(maps.Keys(users))
}

// typingFor is how long a ghost is shown as typing. Rocket.Chat repeats the
// notification every ten seconds.
const typingFor = 15 * time.Second

// Typing implements relay.Matrix: PUT /rooms/{room}/typing/{user}.
func (x *ephemeral) Typing(ctx context.Context, room ids.MXRoom, as ids.MXUser, on bool) error {
	wait := time.Duration(0)
	if on {
		wait = typingFor
	}
	_, err := x.as(as).UserTyping(ctx, room, on, wait)
	return side(err)
}

// MarkRead implements relay.Matrix: POST /rooms/{room}/receipt/m.read/{event}.
func (x *ephemeral) MarkRead(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent) error {
	return side(x.as(as).SendReceipt(ctx, room, target, event.ReceiptTypeRead, struct{}{}))
}

// SetPresence implements relay.Matrix: PUT /presence/{user}/status.
func (x *ephemeral) SetPresence(ctx context.Context, as ids.MXUser, is model.Presence) error {
	to := map[model.Presence]event.Presence{model.Online: event.PresenceOnline, model.Away: event.PresenceUnavailable, model.Offline: event.PresenceOffline}[is]
	return side(x.as(as).SetPresence(ctx, mautrix.ReqPresence{Presence: to}))
}
