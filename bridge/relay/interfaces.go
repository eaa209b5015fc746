package relay

import (
	"context"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/ephemeral"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/roomstate"
	"appliance/bridge/relay/tomatrix"
	"appliance/bridge/relay/torocketchat"
)

// Store is everything that the relay and the sides must persist. Package store implements
// it. Each part of the relay declares the methods that it needs.
type Store interface {
	queue.Backend
	inboxStore
	sideStore

	people.Store
	notice.Store
	roomstate.Store
	portal.Store
	membership.Store
	ephemeral.Store
	tomatrix.Store
	torocketchat.Store
}

// inboxStore stores what the sides receive.
type inboxStore interface {
	// Accept adds items and moves cursors in one transaction; see
	// queue.Backend.Add.
	Accept(ctx context.Context, now time.Time, items []queue.Item, cursors map[string]string) (int, error)
	// Waiting returns the number of items waiting in a lane.
	Waiting(ctx context.Context, lane string) (int, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// sideStore is what the sides need of the store in addition to what the relay needs.
type sideStore interface {
	// GhostsAfter returns up to limit ghosts that follow the given
	// address, in address order.
	GhostsAfter(ctx context.Context, after ids.MXUser, limit int) ([]model.Ghost, error)
	// PuppetMark returns the mark on the account that the bridge created for a Matrix
	// user: a secret that is generated once, and stored before the account is.
	PuppetMark(ctx context.Context, user ids.MXUser) (string, error)
	// DoubleByRC returns the double with the given Rocket.Chat user ID.
	DoubleByRC(ctx context.Context, user ids.RCUser) (model.Double, bool, error)
	// RenewDouble stores the new token of a double if the double still exists.
	RenewDouble(ctx context.Context, d model.Double) error
	// Cursors returns the cursors whose names begin with a prefix, keyed by the rest of the name.
	Cursors(ctx context.Context, prefix string) (map[string]string, error)
	// Seen returns what is known about Rocket.Chat messages that are being read: which of
	// the items were ever accepted, the values of the cursors, and which of the messages
	// have reactions that exist on both sides.
	Seen(ctx context.Context, items, cursors []string, messages []ids.RCMessage) (model.Seen, error)
	// BroughtFile reports whether a file in Rocket.Chat came from Matrix.
	BroughtFile(ctx context.Context, file string) (bool, error)
}

// followRocketChat is what Relay.Follow needs from Rocket.Chat.
type followRocketChat interface {
	// Follow makes the side apply what Live now says to read.
	Follow()
}

// RocketChat is one of the two networks. Package rcside implements it. Each part of the
// relay declares the methods that it needs. Methods may block until the network has
// responded or a timeout of some tens of seconds has expired. All are idempotent unless
// their comment says otherwise.
type RocketChat interface {
	followRocketChat

	people.RocketChat
	notice.RocketChat
	roomstate.RocketChat
	portal.RocketChat
	membership.RocketChat
	ephemeral.RocketChat
	tomatrix.RocketChat
	torocketchat.RocketChat
}

// Matrix is the other network. Package mxside implements it; the notes on
// RocketChat apply to it too.
type Matrix interface {
	people.Matrix
	notice.Matrix
	roomstate.Matrix
	portal.Matrix
	membership.Matrix
	ephemeral.Matrix
	tomatrix.Matrix
	torocketchat.Matrix
}
