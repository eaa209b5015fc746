package ephemeral

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// nameRocketChat is what shownNames needs from Rocket.Chat.
type nameRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
}

// presenceMatrix is what Presences needs from Matrix.
type presenceMatrix interface {
	// SetPresence shows the presence of a ghost.
	SetPresence(ctx context.Context, as ids.MXUser, is model.Presence) error
}

// presenceRocketChat is what Presences needs from Rocket.Chat.
type presenceRocketChat interface {
	// SetPresence shows the presence of a puppet.
	SetPresence(ctx context.Context, as model.Puppet, is model.Presence) error
}

// presenceStore is what Presences needs from the store.
type presenceStore interface {
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}

// receiptMatrix is what Receipts needs from Matrix.
type receiptMatrix interface {
	// MarkRead marks a room as read by a ghost up to an event.
	MarkRead(ctx context.Context, room ids.MXRoom, as ids.MXUser, event ids.MXEvent) error
}

// receiptRocketChat is what Receipts needs from Rocket.Chat.
type receiptRocketChat interface {
	// HasRead reports whether a user has seen everything in a room.
	HasRead(ctx context.Context, p model.Portal, who ids.RCUser) (bool, error)
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// MarkRead marks a room as read by a puppet.
	MarkRead(ctx context.Context, as model.Puppet, room ids.RCRoom) error
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
}

// receiptStore is what Receipts needs from the store.
type receiptStore interface {
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}

// typingMatrix is what Typing needs from Matrix.
type typingMatrix interface {
	// Typing shows, for a while, that a ghost is typing, or that it has stopped.
	Typing(ctx context.Context, room ids.MXRoom, as ids.MXUser, on bool) error
}

// typingRocketChat is what Typing needs from Rocket.Chat.
type typingRocketChat interface {
	// Typing shows, for some seconds, that a puppet is typing, or that it has stopped.
	Typing(ctx context.Context, as model.Puppet, room ids.RCRoom, on bool) error
}

// typingStore is what Typing needs from the store.
type typingStore interface {
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}

// Store is what this package needs from the store.
type Store interface {
	presenceStore
	receiptStore
	typingStore
}

// RocketChat is what this package needs from Rocket.Chat.
type RocketChat interface {
	nameRocketChat
	presenceRocketChat
	receiptRocketChat
	typingRocketChat
}

// Matrix is what this package needs from Matrix.
type Matrix interface {
	presenceMatrix
	receiptMatrix
	typingMatrix
}
