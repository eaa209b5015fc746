package portal

import (
	"context"
	"encoding/json"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// arrivalMatrix is what Arrivals needs of Matrix.
type arrivalMatrix interface {
	// Bridges returns what bridges have written into a room, as reader.
	Bridges(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.BridgeInfo, error)
	// Creation returns how a room began, as reader.
	Creation(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (model.MXCreation, error)
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// Refuse declines an invitation with a reason.
	Refuse(ctx context.Context, room ids.MXRoom, who ids.MXUser, reason string) error
}

// arrivalRocketChat is what Arrivals needs of Rocket.Chat.
type arrivalRocketChat interface {
	// Add lets a user into a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// CreateGroup creates a private group that belongs to owner and that the bridge
	// account can read. A group that an interrupted call left behind is taken when
	// unused says that it is no portal.
	CreateGroup(ctx context.Context, title string, owner model.RCPerson, unused func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error)
	// Direct returns the direct room of a puppet and a user.
	Direct(ctx context.Context, as model.Puppet, with model.RCPerson) (ids.RCRoom, error)
}

// arrivalStore is what Arrivals needs of the store.
type arrivalStore interface {
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// backfillRocketChat is what Backfill needs of Rocket.Chat.
type backfillRocketChat interface {
	// History returns what people said in a room, as items, oldest first: the
	// last messages, and none from before since.
	History(ctx context.Context, room model.RCRoomInfo, last int, since time.Time) ([]queue.Item, error)
}

// backfillStore is what Backfill needs of the store.
type backfillStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// commandMatrix is what Commands needs of Matrix.
type commandMatrix interface {
	// JoinAlias makes one of our users join a room by its alias.
	JoinAlias(ctx context.Context, who ids.MXUser, alias string) (ids.MXRoom, error)
	// JoinVia makes one of our users join a room that one of the servers knows.
	JoinVia(ctx context.Context, room ids.MXRoom, who ids.MXUser, via ...string) error
	// Kick removes a person, as one of our users.
	Kick(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Leave makes one of our users leave or refuse an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// PublicRooms searches what a server lists; "" is our own.
	PublicRooms(ctx context.Context, server, words string, limit int) ([]model.PublicRoom, error)
	// State returns the content of a piece of state, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// commandRocketChat is what Commands needs of Rocket.Chat.
type commandRocketChat interface {
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
	// Remove takes a user out of a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// commandStore is what Commands needs of the store.
type commandStore interface {
	// DoubleByMX returns the double of a Matrix user.
	DoubleByMX(ctx context.Context, user ids.MXUser) (model.Double, bool, error)
	// DoubleByRC returns the double that a Rocket.Chat user is.
	DoubleByRC(ctx context.Context, user ids.RCUser) (model.Double, bool, error)
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PuppetByUsername returns the puppet with a username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
	// Waiting returns how many items of a lane wait.
	Waiting(ctx context.Context, lane string) (int, error)
}

// directMatrix is what Directs needs of Matrix.
type directMatrix interface {
	// CreateRoom creates a room. It is the one call that creates another room when it
	// is repeated.
	CreateRoom(ctx context.Context, spec model.MXRoomSpec) (ids.MXRoom, error)
	// Leave makes one of our users leave or refuse an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
}

// directRocketChat is what Directs needs of Rocket.Chat.
type directRocketChat interface {
	// Direct returns the direct room of a puppet and a user.
	Direct(ctx context.Context, as model.Puppet, with model.RCPerson) (ids.RCRoom, error)
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Unwatch makes the side stop reading the room of a portal that has ended.
	Unwatch(p model.Portal)
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
	// Usernames returns who is in a direct room that the bridge account is not in.
	Usernames(ctx context.Context, room ids.RCRoom) ([]string, error)
}

// directStore is what Directs needs of the store.
type directStore interface {
	// DropPortal forgets a portal. Its links stay.
	DropPortal(ctx context.Context, p model.Portal) error
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PuppetByUsername returns the puppet with a username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
}

// portalsMatrix is what Portals needs of Matrix.
type portalsMatrix interface {
	// CreateRoom creates a room. It is the one call that creates another room when it
	// is repeated.
	CreateRoom(ctx context.Context, spec model.MXRoomSpec) (ids.MXRoom, error)
	// Follow reads a room through a ghost for some minutes, where nothing
	// else shows what happens in it.
	Follow(ghost ids.MXUser)
	// Invite lets one of our users invite a person.
	Invite(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Leave makes one of our users leave or refuse an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// Notice puts words of the bridge into a room, as reader.
	Notice(ctx context.Context, room ids.MXRoom, reader ids.MXUser, txn, text string) error
}

// portalsRocketChat is what Portals needs of Rocket.Chat.
type portalsRocketChat interface {
	// Add lets a user into a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// CreateGroup creates a private group that belongs to owner and that the bridge
	// account can read. A group that an interrupted call left behind is taken when
	// unused says that it is no portal.
	CreateGroup(ctx context.Context, title string, owner model.RCPerson, unused func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error)
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Remove takes a user out of a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// Unwatch makes the side stop reading the room of a portal that has ended.
	Unwatch(p model.Portal)
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
	// Usernames returns who is in a direct room that the bridge account is not in.
	Usernames(ctx context.Context, room ids.RCRoom) ([]string, error)
	// Watch makes the side read the room of a portal from now on.
	Watch(p model.Portal)
}

// portalsStore is what Portals needs of the store.
type portalsStore interface {
	// DropPortal forgets a portal. Its links stay.
	DropPortal(ctx context.Context, p model.Portal) error
	// GhostByMX returns the ghost with an address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// MoveCursor sets how far something was read.
	MoveCursor(ctx context.Context, name, value string) error
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PutPortal stores a portal and, in the same transaction, items and
	// cursors that belong to its beginning. An earlier portal of either room
	// is replaced.
	PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error
	// Waiting returns how many items of a lane wait.
	Waiting(ctx context.Context, lane string) (int, error)
}

// publicMatrix is what PublicChannels needs of Matrix.
type publicMatrix interface {
	// Publish lets anybody find a room, by those aliases that are free and in the
	// homeserver's list, and join it. It returns the aliases that it has got.
	Publish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) ([]string, error)
	// Unpublish takes that back. Who is in the room stays.
	Unpublish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) error
}

// publicRocketChat is what PublicChannels needs of Rocket.Chat.
type publicRocketChat interface {
	// Channel returns a public channel by its name.
	Channel(ctx context.Context, name string) (info model.RCRoomInfo, ok bool, err error)
	// Channels hands over the public channels until each wants no more.
	Channels(ctx context.Context, each func(model.RCRoomInfo) (more bool)) error
}

// publicStore is what PublicChannels needs of the store.
type publicStore interface {
	// Cursor returns how far something was read, "" when it never was.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets how far something was read.
	MoveCursor(ctx context.Context, name, value string) error
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// tighteningMatrix is what Tightening needs of Matrix.
type tighteningMatrix interface {
	// SetState sets a piece of state.
	SetState(ctx context.Context, room ids.MXRoom, as ids.MXUser, kind, key string, content any) error
	// State returns the content of a piece of state, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// tighteningStore is what Tightening needs of the store.
type tighteningStore interface {
	// Cursor returns how far something was read, "" when it never was.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets how far something was read.
	MoveCursor(ctx context.Context, name, value string) error
}

// upgradeMatrix is what Upgrades needs of Matrix.
type upgradeMatrix interface {
	// Follow reads a room through a ghost for some minutes, where nothing
	// else shows what happens in it.
	Follow(ghost ids.MXUser)
	// Invite lets one of our users invite a person.
	Invite(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// JoinVia makes one of our users join a room that one of the servers knows.
	JoinVia(ctx context.Context, room ids.MXRoom, who ids.MXUser, via ...string) error
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// State returns the content of a piece of state, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// upgradeRocketChat is what Upgrades needs of Rocket.Chat.
type upgradeRocketChat interface {
	// Watch makes the side read the room of a portal from now on.
	Watch(p model.Portal)
}

// upgradeStore is what Upgrades needs of the store.
type upgradeStore interface {
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PutPortal stores a portal and, in the same transaction, items and
	// cursors that belong to its beginning. An earlier portal of either room
	// is replaced.
	PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error
}

// Store is what this package needs of the store.
type Store interface {
	arrivalStore
	backfillStore
	commandStore
	directStore
	portalsStore
	publicStore
	tighteningStore
	upgradeStore
}

// RocketChat is what this package needs of Rocket.Chat.
type RocketChat interface {
	arrivalRocketChat
	backfillRocketChat
	commandRocketChat
	directRocketChat
	portalsRocketChat
	publicRocketChat
	upgradeRocketChat
}

// Matrix is what this package needs of Matrix.
type Matrix interface {
	arrivalMatrix
	commandMatrix
	directMatrix
	portalsMatrix
	publicMatrix
	tighteningMatrix
	upgradeMatrix
}
