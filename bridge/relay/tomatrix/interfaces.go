package tomatrix

import (
	"context"
	"encoding/json"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// baseMatrix is what base needs of Matrix.
type baseMatrix interface {
	// FindSent looks for an event that Send sent for source, as reader, among
	// those that are newer than the last one that is linked. When it finds
	// none there is none, also not one that the homeserver still works on.
	FindSent(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source string) (ids.MXEvent, bool, error)
	// Redact takes an event back.
	Redact(ctx context.Context, room ids.MXRoom, as ids.MXUser, event ids.MXEvent, txn string) error
	// Send sends a message as a ghost.
	Send(ctx context.Context, room ids.MXRoom, as ids.MXUser, txn string, at time.Time, c convert.Content) (ids.MXEvent, error)
}

// baseRocketChat is what base needs of Rocket.Chat.
type baseRocketChat interface {
	// Dialect is how the server reads the text of messages, by its version; the zero
	// value while that is unknown. It is asked for again now and then.
	Dialect(ctx context.Context) convert.Dialect
}

// baseStore is what base needs of the store.
type baseStore interface {
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// deletionRocketChat is what deletions needs of Rocket.Chat.
type deletionRocketChat interface {
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
}

// deletionStore is what deletions needs of the store.
type deletionStore interface {
	// GhostByMX returns the ghost with an address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// directStore is what directs needs of the store.
type directStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// encryptedRocketChat is what encrypted needs of Rocket.Chat.
type encryptedRocketChat interface {
	// Tell sends a person a direct message from the bridge account.
	Tell(ctx context.Context, who model.RCPerson, text string) error
}

// encryptedStore is what encrypted needs of the store.
type encryptedStore interface {
	// Known returns those of the item IDs that were ever added.
	Known(ctx context.Context, itemIDs []string) (map[string]bool, error)
	// MarkKnown makes an item ID one that was added before: what it would
	// report is our own doing.
	MarkKnown(ctx context.Context, itemID string) error
}

// fileMatrix is what files needs of Matrix.
type fileMatrix interface {
	// Answers asks whether the server answers at all. The error is ErrUnavailable.
	Answers(ctx context.Context) error
	// Limits returns what the homeserver takes. It may be minutes old.
	Limits(ctx context.Context) (model.Limits, error)
	// Upload stores a file, as a ghost. Its address is an mxc:// one.
	Upload(ctx context.Context, as ids.MXUser, m model.Media) (mxc string, err error)
}

// fileRocketChat is what files needs of Rocket.Chat.
type fileRocketChat interface {
	// Answers asks whether the server answers at all. The error is ErrUnavailable.
	Answers(ctx context.Context) error
	// HasUpload reports whether an upload, with its name, belongs to a portal's room.
	HasUpload(ctx context.Context, p model.Portal, file, name string) (bool, error)
	// Open fetches an uploaded file of a portal's room, of at most limit bytes.
	Open(ctx context.Context, p model.Portal, link string, limit int64) (model.Media, error)
}

// fileStore is what files needs of the store.
type fileStore interface {
	// File returns what a file has become on the other side.
	File(ctx context.Context, source string) (model.File, bool, error)
	// PutFile stores what a file has become on the other side.
	PutFile(ctx context.Context, f model.File) error
}

// inviteStore is what invites needs of the store.
type inviteStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// memberMatrix is what members needs of Matrix.
type memberMatrix interface {
	// Ban removes a person and keeps them out.
	Ban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Kick removes a person, as one of our users.
	Kick(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Unban lets a person who is banned come back.
	Unban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
}

// memberRocketChat is what members needs of Rocket.Chat.
type memberRocketChat interface {
	// Add lets a user into a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Remove takes a user out of a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Tell sends a person a direct message from the bridge account.
	Tell(ctx context.Context, who model.RCPerson, text string) error
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// memberStore is what members needs of the store.
type memberStore interface {
	// PuppetByUsername returns the puppet with a username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
}

// membershipMatrix is what memberships needs of Matrix.
type membershipMatrix interface {
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// State returns the content of a piece of state, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// membershipRocketChat is what memberships needs of Rocket.Chat.
type membershipRocketChat interface {
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
}

// membershipStore is what memberships needs of the store.
type membershipStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// messageMatrix is what messages needs of Matrix.
type messageMatrix interface {
	// Follow reads a room through a ghost for some minutes, where nothing
	// else shows what happens in it.
	Follow(ghost ids.MXUser)
}

// messageStore is what messages needs of the store.
type messageStore interface {
	// DropLink forgets a part of a message that no longer exists.
	DropLink(ctx context.Context, link queue.Receipt) error
	// EventLinked reports whether a message has a Matrix event already.
	EventLinked(ctx context.Context, message ids.RCMessage) (bool, error)
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
}

// personMatrix is what persons needs of Matrix.
type personMatrix interface {
	// JoinedRooms lists the rooms one of our users is in.
	JoinedRooms(ctx context.Context, user ids.MXUser) ([]ids.MXRoom, error)
	// Leave makes one of our users leave or refuse an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// SetAvatar gives a ghost a picture; "" takes it away.
	SetAvatar(ctx context.Context, ghost ids.MXUser, mxc string) error
}

// personRocketChat is what persons needs of Rocket.Chat.
type personRocketChat interface {
	// Avatar fetches the picture of a person, of at most limit bytes.
	Avatar(ctx context.Context, username string, limit int64) ([]byte, error)
	// Profile describes a user; ok is false when the account is gone.
	Profile(ctx context.Context, user ids.RCUser) (p model.RCProfile, ok bool, err error)
}

// personStore is what persons needs of the store.
type personStore interface {
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	// PuppetByRC returns the puppet that a Rocket.Chat user is.
	PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error)
	// PutPuppet stores a puppet or its new names or token.
	PutPuppet(ctx context.Context, p model.Puppet) error
}

// echoMatrix is what echoes needs of Matrix.
type echoMatrix interface {
	// Event returns an event of a room as reader sees it.
	Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error)
}

// echoStore is what echoes needs of the store.
type echoStore interface {
	// LinksByEvent returns the links of an event.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// Reactions returns the reactions to a message that are on both sides.
	Reactions(ctx context.Context, message ids.RCMessage) ([]model.Reaction, error)
}

// pinMatrix is what pins needs of Matrix.
type pinMatrix interface {
	// State returns the content of a piece of state, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// pinRocketChat is what pins needs of Rocket.Chat.
type pinRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
}

// reactionMatrix is what reactions needs of Matrix.
type reactionMatrix interface {
	// FindReaction looks for a reaction that React sent as a user, as reader: whose answer
	// was lost, or that the homeserver took before it was killed.
	FindReaction(ctx context.Context, room ids.MXRoom, reader, as ids.MXUser, target ids.MXEvent, key string) (event ids.MXEvent, ok bool, err error)
	// React sends an m.reaction event.
	React(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent, key, txn string) (ids.MXEvent, error)
}

// reactionRocketChat is what reactions needs of Rocket.Chat.
type reactionRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// reactionStore is what reactions needs of the store.
type reactionStore interface {
	// DropReaction forgets a reaction.
	DropReaction(ctx context.Context, r model.Reaction) error
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByUsername returns the puppet with a username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
	// PutReaction stores a reaction that is on both sides.
	PutReaction(ctx context.Context, r model.Reaction) error
	// Reactions returns the reactions to a message that are on both sides.
	Reactions(ctx context.Context, message ids.RCMessage) ([]model.Reaction, error)
}

// roleRocketChat is what roles needs of Rocket.Chat.
type roleRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Roles returns everybody with a role in a room.
	Roles(ctx context.Context, p model.Portal) (map[ids.RCUser]model.Role, error)
	// SetRole gives a person a role, and takes the others away.
	SetRole(ctx context.Context, p model.Portal, who ids.RCUser, role model.Role) error
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// roomRocketChat is what rooms needs of Rocket.Chat.
type roomRocketChat interface {
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// Watch makes the side read the room of a portal from now on.
	Watch(p model.Portal)
}

// roomStore is what rooms needs of the store.
type roomStore interface {
	// PutPortal stores a portal and, in the same transaction, items and
	// cursors that belong to its beginning. An earlier portal of either room
	// is replaced.
	PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error
}

// Store is what this package needs of the store.
type Store interface {
	baseStore
	deletionStore
	directStore
	echoStore
	encryptedStore
	fileStore
	inviteStore
	memberStore
	membershipStore
	messageStore
	personStore
	reactionStore
	roomStore
}

// RocketChat is what this package needs of Rocket.Chat.
type RocketChat interface {
	baseRocketChat
	deletionRocketChat
	encryptedRocketChat
	fileRocketChat
	memberRocketChat
	membershipRocketChat
	personRocketChat
	pinRocketChat
	reactionRocketChat
	roleRocketChat
	roomRocketChat
}

// Matrix is what this package needs of Matrix.
type Matrix interface {
	baseMatrix
	echoMatrix
	fileMatrix
	memberMatrix
	membershipMatrix
	messageMatrix
	personMatrix
	pinMatrix
	reactionMatrix
}
