package notice

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Matrix is what Notices needs from Matrix.
type Matrix interface {
	// Notice sends a notice of the bridge to a room, as reader.
	Notice(ctx context.Context, room ids.MXRoom, reader ids.MXUser, txn, text string) error
}

// RocketChat is what Notices needs from Rocket.Chat.
type RocketChat interface {
	// Say sends a message to a room as the bridge account.
	Say(ctx context.Context, room ids.RCRoom, text string) error
	// Send sends a message to a room as a puppet, in the thread of another
	// message if one is given.
	Send(ctx context.Context, as model.Puppet, room ids.RCRoom, id, thread ids.RCMessage, text string) error
	// Tell sends a person a direct message from the bridge account.
	Tell(ctx context.Context, who model.RCPerson, text string) error
}

// Store is what Notices needs from the store.
type Store interface {
	// Known returns which of the item IDs were ever added.
	Known(ctx context.Context, itemIDs []string) (map[string]bool, error)
	// MarkKnown marks an item ID as added before: what it would report is our own doing.
	MarkKnown(ctx context.Context, itemID string) error
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}
