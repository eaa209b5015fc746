package membership

import (
	"context"
	"encoding/json"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// memberMatrix is what Members needs from Matrix.
type memberMatrix interface {
	// Leave makes one of our users leave a room or reject an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
}

// memberStore is what Members needs from the store.
type memberStore interface {
	// GhostByMX returns the ghost with the given address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
}

// newcomerMatrix is what Newcomers needs from Matrix.
type newcomerMatrix interface {
	// Probe makes servers that lack events of a room request them. It is
	// invisible to people.
	Probe(ctx context.Context, room ids.MXRoom, as ids.MXUser) error
}

// reconcileMatrix is what Reconciler needs from Matrix.
type reconcileMatrix interface {
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// reconcileRocketChat is what Reconciler needs from Rocket.Chat.
type reconcileRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
	// Remove removes a user from a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
}

// reconcileStore is what Reconciler needs from the store.
type reconcileStore interface {
	// Awaited reports whether an item of a kind is waiting in a lane or being delivered.
	Awaited(ctx context.Context, lane, kind string) (bool, error)
	// GhostByMX returns the ghost with the given address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	// Portals returns all portals.
	Portals(ctx context.Context) ([]model.Portal, error)
	// SetTitle stores the name of a room in Rocket.Chat.
	SetTitle(ctx context.Context, room ids.RCRoom, title string) error
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PuppetByRC returns the puppet with the given Rocket.Chat user ID.
	PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error)
}

// Store is what this package needs from the store.
type Store interface {
	memberStore
	reconcileStore
}

// RocketChat is what this package needs from Rocket.Chat.
type RocketChat interface {
	reconcileRocketChat
}

// Matrix is what this package needs from Matrix.
type Matrix interface {
	memberMatrix
	newcomerMatrix
	reconcileMatrix
}
