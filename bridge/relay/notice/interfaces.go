package notice

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Matrix is what Notices needs of Matrix.
type Matrix interface {
	// Notice puts words of the bridge into a room, as reader.
	Notice(ctx context.Context, room ids.MXRoom, reader ids.MXUser, txn, text string) error
}

// RocketChat is what Notices needs of Rocket.Chat.
type RocketChat interface {
	// Say puts a message of the bridge account into a room.
	Say(ctx context.Context, room ids.RCRoom, text string) error
	// Send puts a message into a room as a puppet, into the thread of another
	// message where one is named.
	Send(ctx context.Context, as model.Puppet, room ids.RCRoom, id, thread ids.RCMessage, text string) error
	// Tell sends a person a direct message from the bridge account.
	Tell(ctx context.Context, who model.RCPerson, text string) error
}

// Store is what Notices needs of the store.
type Store interface {
	// Known returns those of the item IDs that were ever added.
	Known(ctx context.Context, itemIDs []string) (map[string]bool, error)
	// MarkKnown makes an item ID one that was added before: what it would
	// report is our own doing.
	MarkKnown(ctx context.Context, itemID string) error
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}
