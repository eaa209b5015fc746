package portal

import (
	"context"
	"encoding/json"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// arrivalMatrix is what Arrivals needs from Matrix.
type arrivalMatrix interface {
	// Bridges returns what bridges have written into a room's state, as reader.
	Bridges(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.BridgeInfo, error)
	// Creation returns how a room was created, as reader.
	Creation(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (model.MXCreation, error)
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// Refuse declines an invitation with a reason.
	Refuse(ctx context.Context, room ids.MXRoom, who ids.MXUser, reason string) error
}

// arrivalRocketChat is what Arrivals needs from Rocket.Chat.
type arrivalRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// CreateGroup creates a private group that belongs to owner and that the bridge
	// account can read. It takes a group left behind by an interrupted call if unused
	// reports that it is not a portal.
	CreateGroup(ctx context.Context, title string, owner model.RCPerson, unused func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error)
	// Direct returns the direct room of a puppet and a user.
	Direct(ctx context.Context, as model.Puppet, with model.RCPerson) (ids.RCRoom, error)
}

// arrivalStore is what Arrivals needs from the store.
type arrivalStore interface {
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// backfillRocketChat is what Backfill needs from Rocket.Chat.
type backfillRocketChat interface {
	// History returns the messages of people in a room, as items, oldest first: the last
	// ones, and none from before since.
	History(ctx context.Context, room model.RCRoomInfo, last int, since time.Time) ([]queue.Item, error)
}

// backfillStore is what Backfill needs from the store.
type backfillStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// commandMatrix is what Commands needs from Matrix.
type commandMatrix interface {
	// JoinAlias makes one of our users join a room by its alias.
	JoinAlias(ctx context.Context, who ids.MXUser, alias string) (ids.MXRoom, error)
	// JoinVia makes one of our users join a room via one of the given servers.
	JoinVia(ctx context.Context, room ids.MXRoom, who ids.MXUser, via ...string) error
	// Kick removes a person, as one of our users.
	Kick(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Leave makes one of our users leave a room or reject an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// PublicRooms searches a server's room directory; "" is our own server.
	PublicRooms(ctx context.Context, server, words string, limit int) ([]model.PublicRoom, error)
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// commandRocketChat is what Commands needs from Rocket.Chat.
type commandRocketChat interface {
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
	// Remove removes a user from a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// commandStore is what Commands needs from the store.
type commandStore interface {
	// DoubleByMX returns the double of a Matrix user.
	DoubleByMX(ctx context.Context, user ids.MXUser) (model.Double, bool, error)
	// DoubleByRC returns the double with the given Rocket.Chat user ID.
	DoubleByRC(ctx context.Context, user ids.RCUser) (model.Double, bool, error)
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PuppetByUsername returns the puppet with the given username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
	// Waiting returns the number of items waiting in a lane.
	Waiting(ctx context.Context, lane string) (int, error)
}

// directMatrix is what Directs needs from Matrix.
type directMatrix interface {
	// CreateRoom creates a room. It is not idempotent: repeating it creates another room.
	CreateRoom(ctx context.Context, spec model.MXRoomSpec) (ids.MXRoom, error)
	// Leave makes one of our users leave a room or reject an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
}

// directRocketChat is what Directs needs from Rocket.Chat.
type directRocketChat interface {
	// Direct returns the direct room of a puppet and a user.
	Direct(ctx context.Context, as model.Puppet, with model.RCPerson) (ids.RCRoom, error)
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Unwatch makes the side stop reading the room of a portal that has ended.
	Unwatch(p model.Portal)
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
	// Usernames returns the members of a direct room that the bridge account is not in.
	Usernames(ctx context.Context, room ids.RCRoom) ([]string, error)
}

// directStore is what Directs needs from the store.
type directStore interface {
	// DropPortal removes a portal. Its links stay.
	DropPortal(ctx context.Context, p model.Portal) error
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PuppetByUsername returns the puppet with the given username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
}

// portalsMatrix is what Portals needs from Matrix.
type portalsMatrix interface {
	// CreateRoom creates a room. It is not idempotent: repeating it creates another room.
	CreateRoom(ctx context.Context, spec model.MXRoomSpec) (ids.MXRoom, error)
	// Follow reads a room through a ghost for some minutes, if the bridge gets no events
	// from it otherwise.
	Follow(ghost ids.MXUser)
	// Invite invites a person, as one of our users.
	Invite(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Leave makes one of our users leave a room or reject an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// Notice sends a notice of the bridge to a room, as reader.
	Notice(ctx context.Context, room ids.MXRoom, reader ids.MXUser, txn, text string) error
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// portalsRocketChat is what Portals needs from Rocket.Chat.
type portalsRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// CreateGroup creates a private group that belongs to owner and that the bridge
	// account can read. It takes a group left behind by an interrupted call if unused
	// reports that it is not a portal.
	CreateGroup(ctx context.Context, title string, owner model.RCPerson, unused func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error)
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Remove removes a user from a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// Unwatch makes the side stop reading the room of a portal that has ended.
	Unwatch(p model.Portal)
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
	// Usernames returns the members of a direct room that the bridge account is not in.
	Usernames(ctx context.Context, room ids.RCRoom) ([]string, error)
	// Watch makes the side start reading the room of a portal.
	Watch(p model.Portal)
}

// portalsStore is what Portals needs from the store.
type portalsStore interface {
	// DropPortal removes a portal. Its links stay.
	DropPortal(ctx context.Context, p model.Portal) error
	// GhostByMX returns the ghost with the given address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PutPortal stores a portal and, in the same transaction, the items and cursors that
	// it starts with. It replaces an earlier portal of either room.
	PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error
	// Waiting returns the number of items waiting in a lane.
	Waiting(ctx context.Context, lane string) (int, error)
}

// publicMatrix is what PublicChannels needs from Matrix.
type publicMatrix interface {
	// Publish lets anybody join a room, and find it in the homeserver's list and by those
	// aliases that are free. It returns the aliases that it obtained.
	Publish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) ([]string, error)
	// Unpublish undoes Publish. The room keeps its members.
	Unpublish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) error
}

// publicRocketChat is what PublicChannels needs from Rocket.Chat.
type publicRocketChat interface {
	// Channel returns a public channel by its name.
	Channel(ctx context.Context, name string) (info model.RCRoomInfo, ok bool, err error)
	// Channels calls each for the public channels until it returns false.
	Channels(ctx context.Context, each func(model.RCRoomInfo) (more bool)) error
}

// publicStore is what PublicChannels needs from the store.
type publicStore interface {
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// tighteningMatrix is what Tightening needs from Matrix.
type tighteningMatrix interface {
	// SetState sets a state event.
	SetState(ctx context.Context, room ids.MXRoom, as ids.MXUser, kind, key string, content any) error
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// tighteningStore is what Tightening needs from the store.
type tighteningStore interface {
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
}

// upgradeMatrix is what Upgrades needs from Matrix.
type upgradeMatrix interface {
	// Follow reads a room through a ghost for some minutes, if the bridge gets no events
	// from it otherwise.
	Follow(ghost ids.MXUser)
	// Invite invites a person, as one of our users.
	Invite(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// JoinVia makes one of our users join a room via one of the given servers.
	JoinVia(ctx context.Context, room ids.MXRoom, who ids.MXUser, via ...string) error
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// upgradeRocketChat is what Upgrades needs from Rocket.Chat.
type upgradeRocketChat interface {
	// Watch makes the side start reading the room of a portal.
	Watch(p model.Portal)
}

// upgradeStore is what Upgrades needs from the store.
type upgradeStore interface {
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PutPortal stores a portal and, in the same transaction, the items and cursors that
	// it starts with. It replaces an earlier portal of either room.
	PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error
}

// Store is what this package needs from the store.
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

// RocketChat is what this package needs from Rocket.Chat.
type RocketChat interface {
	arrivalRocketChat
	backfillRocketChat
	commandRocketChat
	directRocketChat
	portalsRocketChat
	publicRocketChat
	upgradeRocketChat
}

// Matrix is what this package needs from Matrix.
type Matrix interface {
	arrivalMatrix
	commandMatrix
	directMatrix
	portalsMatrix
	publicMatrix
	tighteningMatrix
	upgradeMatrix
}
