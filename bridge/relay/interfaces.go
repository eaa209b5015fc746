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

// Store is everything that the relay and the sides must not forget. Package store
// implements it. Each part of the relay declares what it needs of it.
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
	// Waiting returns how many items of a lane wait.
	Waiting(ctx context.Context, lane string) (int, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// sideStore is what the sides need beyond what the relay does.
type sideStore interface {
	// GhostsAfter returns the first ghosts after one, in the order of their
	// addresses.
	GhostsAfter(ctx context.Context, after ids.MXUser, limit int) ([]model.Ghost, error)
	// PuppetMark returns what the account of a Matrix user carries because the
	// bridge created it: a secret that is generated once, and stored before the
	// account is.
	PuppetMark(ctx context.Context, user ids.MXUser) (string, error)
	// DoubleByRC returns the double that a Rocket.Chat user is.
	DoubleByRC(ctx context.Context, user ids.RCUser) (model.Double, bool, error)
	// RenewDouble stores the new token of a double that is still there.
	RenewDouble(ctx context.Context, d model.Double) error
	// Cursors returns the cursors whose names begin with a prefix, by the rest of the name.
	Cursors(ctx context.Context, prefix string) (map[string]string, error)
	// Seen returns what is known of messages of Rocket.Chat that are read: which of some items
	// were ever accepted, the values of some cursors, and which of some messages have reactions
	// that both sides have.
	Seen(ctx context.Context, items, cursors []string, messages []ids.RCMessage) (model.Seen, error)
	// BroughtFile reports whether a file in Rocket.Chat is one of Matrix.
	BroughtFile(ctx context.Context, file string) (bool, error)
}

// followRocketChat is what Relay.Follow needs of Rocket.Chat.
type followRocketChat interface {
	// Follow makes the side read again what Live says is to be read.
	Follow()
}

// RocketChat is one of the two networks. Package rcside implements it. Each part of
// the relay declares what it needs of it. Methods may block until the network has
// answered or a timeout of some tens of seconds has passed; all may be repeated
// without another effect than once.
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

// Matrix is the other network. Package mxside implements it; what is said of
// RocketChat holds for it too.
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
