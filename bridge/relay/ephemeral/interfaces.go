package ephemeral

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Matrix is what Events needs of Matrix.
type Matrix interface {
	// MarkRead shows that a ghost has read up to an event.
	MarkRead(ctx context.Context, room ids.MXRoom, as ids.MXUser, event ids.MXEvent) error
	// SetPresence shows whether a ghost is there.
	SetPresence(ctx context.Context, as ids.MXUser, is model.Presence) error
	// Typing shows for a while that a ghost types, or no longer.
	Typing(ctx context.Context, room ids.MXRoom, as ids.MXUser, on bool) error
}

// RocketChat is what Events needs of Rocket.Chat.
type RocketChat interface {
	// HasRead reports whether a user has seen everything in a room.
	HasRead(ctx context.Context, p model.Portal, who ids.RCUser) (bool, error)
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// MarkRead marks a room as read by a puppet.
	MarkRead(ctx context.Context, as model.Puppet, room ids.RCRoom) error
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
	// SetPresence shows whether a puppet is there.
	SetPresence(ctx context.Context, as model.Puppet, is model.Presence) error
	// Typing shows, for some seconds, that a puppet types, or no longer.
	Typing(ctx context.Context, as model.Puppet, room ids.RCRoom, on bool) error
}

// Store is what Events needs of the store.
type Store interface {
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}
