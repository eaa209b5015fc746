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

// baseMatrix is what base needs from Matrix.
type baseMatrix interface {
	// FindSent looks, as reader, for an event that Send sent for source, among those
	// newer than the last linked one. If it finds none, there is none, not even one that
	// the homeserver is still processing.
	FindSent(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source string) (ids.MXEvent, bool, error)
	// Redact redacts an event.
	Redact(ctx context.Context, room ids.MXRoom, as ids.MXUser, event ids.MXEvent, txn string) error
	// Send sends a message as a ghost.
	Send(ctx context.Context, room ids.MXRoom, as ids.MXUser, txn string, at time.Time, c convert.Content) (ids.MXEvent, error)
}

// baseRocketChat is what base needs from Rocket.Chat.
type baseRocketChat interface {
	// Dialect returns how the server parses message text, by its version; the zero value
	// while that is unknown. It is refreshed now and then.
	Dialect(ctx context.Context) convert.Dialect
}

// baseStore is what base needs from the store.
type baseStore interface {
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// deletionRocketChat is what deletions needs from Rocket.Chat.
type deletionRocketChat interface {
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
}

// deletionStore is what deletions needs from the store.
type deletionStore interface {
	// GhostByMX returns the ghost with the given address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// directStore is what directs needs from the store.
type directStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// encryptedRocketChat is what encrypted needs from Rocket.Chat.
type encryptedRocketChat interface {
	// Tell sends a person a direct message from the bridge account.
	Tell(ctx context.Context, who model.RCPerson, text string) error
}

// encryptedStore is what encrypted needs from the store.
type encryptedStore interface {
	// Known returns which of the item IDs were ever added.
	Known(ctx context.Context, itemIDs []string) (map[string]bool, error)
	// MarkKnown marks an item ID as added before: what it would report is our own doing.
	MarkKnown(ctx context.Context, itemID string) error
}

// fileMatrix is what files needs from Matrix.
type fileMatrix interface {
	// Answers checks whether the server responds at all. The error is ErrUnavailable.
	Answers(ctx context.Context) error
	// Limits returns the limits of the homeserver. They may be minutes old.
	Limits(ctx context.Context) (model.Limits, error)
	// Upload stores a file, as a ghost, and returns its mxc:// address.
	Upload(ctx context.Context, as ids.MXUser, m model.Media) (mxc string, err error)
}

// fileRocketChat is what files needs from Rocket.Chat.
type fileRocketChat interface {
	// Answers checks whether the server responds at all. The error is ErrUnavailable.
	Answers(ctx context.Context) error
	// HasUpload reports whether an upload with the given name belongs to a portal's room.
	HasUpload(ctx context.Context, p model.Portal, file, name string) (bool, error)
	// Open fetches a file that was uploaded to a portal's room, of at most limit bytes.
	Open(ctx context.Context, p model.Portal, link string, limit int64) (model.Media, error)
}

// fileStore is what files needs from the store.
type fileStore interface {
	// File returns the record of a file's copy on the other side.
	File(ctx context.Context, source string) (model.File, bool, error)
	// PutFile stores the record of a file's copy on the other side.
	PutFile(ctx context.Context, f model.File) error
}

// inviteStore is what invites needs from the store.
type inviteStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// memberMatrix is what members needs from Matrix.
type memberMatrix interface {
	// Ban removes a person and keeps them out.
	Ban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Kick removes a person, as one of our users.
	Kick(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
	// Unban lets a banned person come back.
	Unban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
}

// memberRocketChat is what members needs from Rocket.Chat.
type memberRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Remove removes a user from a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Tell sends a person a direct message from the bridge account.
	Tell(ctx context.Context, who model.RCPerson, text string) error
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// memberStore is what members needs from the store.
type memberStore interface {
	// PuppetByUsername returns the puppet with the given username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
}

// membershipMatrix is what memberships needs from Matrix.
type membershipMatrix interface {
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// membershipRocketChat is what memberships needs from Rocket.Chat.
type membershipRocketChat interface {
	// Members lists the people in a room.
	Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error)
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
}

// membershipStore is what memberships needs from the store.
type membershipStore interface {
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
}

// messageMatrix is what messages needs from Matrix.
type messageMatrix interface {
	// Follow reads a room through a ghost for some minutes, if the bridge gets no events
	// from it otherwise.
	Follow(ghost ids.MXUser)
}

// messageStore is what messages needs from the store.
type messageStore interface {
	// DropLink removes the link of a message part that no longer exists.
	DropLink(ctx context.Context, link queue.Receipt) error
	// EventLinked reports whether a message already has a Matrix event.
	EventLinked(ctx context.Context, message ids.RCMessage) (bool, error)
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
}

// personMatrix is what persons needs from Matrix.
type personMatrix interface {
	// JoinedRooms lists the rooms one of our users is in.
	JoinedRooms(ctx context.Context, user ids.MXUser) ([]ids.MXRoom, error)
	// Leave makes one of our users leave a room or reject an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// SetAvatar sets a ghost's picture; "" removes it.
	SetAvatar(ctx context.Context, ghost ids.MXUser, mxc string) error
}

// personRocketChat is what persons needs from Rocket.Chat.
type personRocketChat interface {
	// Avatar fetches the picture of a person, of at most limit bytes.
	Avatar(ctx context.Context, username string, limit int64) ([]byte, error)
	// Profile describes a user; ok is false when the account is gone.
	Profile(ctx context.Context, user ids.RCUser) (p model.RCProfile, ok bool, err error)
}

// personStore is what persons needs from the store.
type personStore interface {
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	// PuppetByRC returns the puppet with the given Rocket.Chat user ID.
	PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error)
	// PutPuppet stores a puppet or updates its names or token.
	PutPuppet(ctx context.Context, p model.Puppet) error
}

// echoMatrix is what echoes needs from Matrix.
type echoMatrix interface {
	// Event returns an event of a room as reader sees it.
	Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error)
}

// echoStore is what echoes needs from the store.
type echoStore interface {
	// LinksByEvent returns the links of an event.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	// PortalByRC returns the portal of a Rocket.Chat room.
	PortalByRC(ctx context.Context, room ids.RCRoom) (model.Portal, bool, error)
	// Reactions returns the reactions to a message that exist on both sides.
	Reactions(ctx context.Context, message ids.RCMessage) ([]model.Reaction, error)
}

// pinMatrix is what pins needs from Matrix.
type pinMatrix interface {
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// pinRocketChat is what pins needs from Rocket.Chat.
type pinRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
}

// reactionMatrix is what reactions needs from Matrix.
type reactionMatrix interface {
	// FindReaction looks, as reader, for a reaction that React sent as a user: one whose
	// response was lost, or that the homeserver accepted before it was killed.
	FindReaction(ctx context.Context, room ids.MXRoom, reader, as ids.MXUser, target ids.MXEvent, key string) (event ids.MXEvent, ok bool, err error)
	// React sends an m.reaction event.
	React(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent, key, txn string) (ids.MXEvent, error)
}

// reactionRocketChat is what reactions needs from Rocket.Chat.
type reactionRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// reactionStore is what reactions needs from the store.
type reactionStore interface {
	// DropReaction removes a stored reaction.
	DropReaction(ctx context.Context, r model.Reaction) error
	// LinksByMessage returns the parts of a message.
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByUsername returns the puppet with the given username.
	PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error)
	// PutReaction stores a reaction that exists on both sides.
	PutReaction(ctx context.Context, r model.Reaction) error
	// Reactions returns the reactions to a message that exist on both sides.
	Reactions(ctx context.Context, message ids.RCMessage) ([]model.Reaction, error)
}

// roleRocketChat is what roles needs from Rocket.Chat.
type roleRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Roles returns everybody with a role in a room.
	Roles(ctx context.Context, p model.Portal) (map[ids.RCUser]model.Role, error)
	// SetRole gives a person a role, and removes the others.
	SetRole(ctx context.Context, p model.Portal, who ids.RCUser, role model.Role) error
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// roomRocketChat is what rooms needs from Rocket.Chat.
type roomRocketChat interface {
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// Watch makes the side start reading the room of a portal.
	Watch(p model.Portal)
}

// roomStore is what rooms needs from the store.
type roomStore interface {
	// PutPortal stores a portal and, in the same transaction, the items and cursors that
	// it starts with. It replaces an earlier portal of either room.
	PutPortal(ctx context.Context, p model.Portal, items []queue.Item, cursors map[string]string) error
}

// Store is what this package needs from the store.
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

// RocketChat is what this package needs from Rocket.Chat.
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

// Matrix is what this package needs from Matrix.
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
