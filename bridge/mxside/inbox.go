package mxside

import (
	"context"
	"encoding/json"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
)

// Store is what the side must not forget. Package store implements it.
type Store interface {
	// Cursor returns how far something was read, "" at the beginning.
	Cursor(ctx context.Context, name string) (string, error)
	MoveCursor(ctx context.Context, name, value string) error
	// Known returns which items were ever accepted, by ID.
	Known(ctx context.Context, ids []string) (map[string]bool, error)
	// EventLinked reports whether the event of a message of Rocket.Chat is known.
	EventLinked(ctx context.Context, msg ids.RCMessage) (bool, error)
	Portals(ctx context.Context) ([]relay.Portal, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (relay.Portal, bool, error)
	// GhostsAfter returns the first ghosts after one, in the order of their addresses.
	GhostsAfter(ctx context.Context, after ids.MXUser, limit int) ([]relay.Ghost, error)
}

// inbox decides what an event is to the bridge, and stores it.
type inbox struct {
	names  ids.Namespace
	store  Store
	accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error
}

// item decides what an event is to the bridge. ok is false for our own echo and
// for what does not cross. room is given where the event does not name it.
func (b *inbox) item(raw json.RawMessage, room ids.MXRoom) (queue.Item, bool) {
	e, err := convert.ParseEvent(raw)
	if err != nil || e.ID == "" || b.names.Owns(ids.MXUser(e.Sender)) {
		return queue.Item{}, false
	}
	if room == "" {
		room = ids.MXRoom(e.Room)
	}
	if room == "" || tooLong(e.ID, e.Sender, e.StateKey, string(room)) {
		return queue.Item{}, false
	}
	it := queue.Item{ID: e.ID, Lane: relay.MXLane(room)}
	switch {
	case e.Type == "m.room.message", e.Type == "m.sticker":
		it.Kind = relay.KindMXMessage
	case e.Type == "m.reaction":
		it.Kind = relay.KindMXReact
	case e.Type == "m.room.redaction":
		it.Kind = relay.KindMXRedact
	case slices.Contains(convert.CallTypes, e.Type):
		it.Kind = relay.KindMXCall
	case isPoll(e.Type):
		it.Kind = relay.KindMXPoll
	case e.Type == "m.room.encrypted":
		it.Kind = relay.KindMXSecret
	case isRoomState(e.Type) && e.StateKey == "":
		it.Kind = relay.KindMXRoom
	case e.Type == "m.room.member" && b.names.Owns(ids.MXUser(e.StateKey)):
		if e.Content.Membership != "invite" {
			it.Kind = relay.KindMXMember // one of our users was removed
			break
		}
		return relay.InvitationItem(e.ID, relay.Invitation{
			Room: room, Ghost: ids.MXUser(e.StateKey), Inviter: ids.MXUser(e.Sender), Direct: e.Content.Direct, Name: roomName(raw),
		}), true
	case e.Type == "m.room.member" && e.StateKey != "":
		it.Kind = relay.KindMXMember
	default:
		return queue.Item{}, false
	}
	it.Payload = withRoom(raw, e.Room, room)
	return it, true
}

// maxID is the longest identifier of Matrix, in bytes (specification, "Size
// limits").
const maxID = 255

// tooLong reports whether one of some identifiers cannot be one.
func tooLong(list ...string) bool {
	for _, id := range list {
		if len(id) > maxID {
			return true
		}
	}
	return false
}

// isPoll reports whether a type of event begins or ends a poll (MSC3381).
func isPoll(kind string) bool {
	switch kind {
	case "m.poll.start", "m.poll.end", "org.matrix.msc3381.poll.start", "org.matrix.msc3381.poll.end":
		return true
	}
	return false
}

// isRoomState reports whether a type of event is about a room as a whole.
func isRoomState(kind string) bool {
	switch kind {
	case "m.room.name", "m.room.topic", "m.room.avatar", "m.room.power_levels", "m.room.tombstone", "m.room.encryption", "m.room.pinned_events":
		return true
	}
	return false
}

// roomName returns the name of the room that an invitation is for, which Synapse
// adds to the event it pushes; "" when it is not there.
func roomName(invitation json.RawMessage) string {
	var with struct {
		Unsigned struct {
			State []json.RawMessage `json:"invite_room_state"`
		} `json:"unsigned"`
	}
	if json.Unmarshal(invitation, &with) != nil {
		return ""
	}
	for _, raw := range with.Unsigned.State {
		if e, err := convert.ParseEvent(raw); err == nil && e.Type == "m.room.name" {
			return e.Content.RoomName
		}
	}
	return ""
}

// withRoom puts the room into an event from /sync, which leaves it out.
func withRoom(raw json.RawMessage, has string, room ids.MXRoom) []byte {
	if has == string(room) {
		return raw
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return raw
	}
	m["room_id"], _ = json.Marshal(room) // a string cannot fail
	out, err := json.Marshal(m)
	if err != nil {
		return raw
	}
	return out
}
