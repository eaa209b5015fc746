package roomstate

import (
	"context"
	"encoding/json"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Matrix is what State needs from Matrix.
type Matrix interface {
	// Creation returns how a room was created, as reader.
	Creation(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (model.MXCreation, error)
	// SetState sets a state event.
	SetState(ctx context.Context, room ids.MXRoom, as ids.MXUser, kind, key string, content any) error
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// RocketChat is what State needs from Rocket.Chat.
type RocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Roles returns everybody with a role in a room.
	Roles(ctx context.Context, p model.Portal) (map[ids.RCUser]model.Role, error)
	// RoomAvatar fetches a room's picture, of at most limit bytes.
	RoomAvatar(ctx context.Context, room ids.RCRoom, limit int64) ([]byte, error)
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
}

// Store is what State needs from the store.
type Store interface {
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
}
