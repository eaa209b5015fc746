package torocketchat

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
	// Event returns an event of a room, as reader.
	Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error)
}

// baseRocketChat is what base needs from Rocket.Chat.
type baseRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Delete deletes a message as a puppet, or as the bridge account when as is nil. The
	// error is ErrNotFound if the message is gone.
	Delete(ctx context.Context, as *model.Puppet, room ids.RCRoom, id ids.RCMessage) error
	// Dialect returns how the server parses message text, by its version; the zero value
	// while that is unknown. It is refreshed now and then.
	Dialect(ctx context.Context) convert.Dialect
	// Limits returns the limits of Rocket.Chat. They may be minutes old.
	Limits(ctx context.Context) (model.Limits, error)
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// Send sends a message to a room as a puppet, in the thread of another
	// message if one is given.
	Send(ctx context.Context, as model.Puppet, room ids.RCRoom, id, thread ids.RCMessage, text string) error
}

// baseStore is what base needs from the store.
type baseStore interface {
	// DoubleByMX returns the double of a Matrix user.
	DoubleByMX(ctx context.Context, user ids.MXUser) (model.Double, bool, error)
	// GhostByMX returns the ghost with the given address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// LinksByEvent returns the parts of a message, looked up by one of its events.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
	// MarkKnown marks an item ID as added before: what it would report is our own doing.
	MarkKnown(ctx context.Context, itemID string) error
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// Waiting returns the number of items in a lane that are not delivered yet.
	Waiting(ctx context.Context, lane string) (int, error)
}

// callStore is what calls needs from the store.
type callStore interface {
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
}

// editRocketChat is what edits needs from Rocket.Chat.
type editRocketChat interface {
	// Edit changes a puppet's message.
	Edit(ctx context.Context, as model.Puppet, room ids.RCRoom, id ids.RCMessage, text string) error
}

// editStore is what edits needs from the store.
type editStore interface {
	// DateEdit stores when the sender's server made an edit, in milliseconds, and reports whether
	// no edit of the message is newer. Within one millisecond, the last to arrive counts.
	DateEdit(ctx context.Context, event, target ids.MXEvent, at int64) (newest bool, err error)
	// DropLink removes the link of a message part that no longer exists.
	DropLink(ctx context.Context, link queue.Receipt) error
	// File returns the record of a file's copy on the other side.
	File(ctx context.Context, source string) (model.File, bool, error)
	// LinksByEvent returns the parts of a message, looked up by one of its events.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
}

// fileMatrix is what files needs from Matrix.
type fileMatrix interface {
	// Answers checks whether the server responds at all. The error is ErrUnavailable.
	Answers(ctx context.Context) error
	// Download fetches a file of at most limit bytes from any server. A transfer that
	// stalls for patience ends in ErrSlow, before or while the file is read.
	Download(ctx context.Context, mxc string, limit int64, patience time.Duration) (model.Media, error)
}

// fileRocketChat is what files needs from Rocket.Chat.
type fileRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Answers checks whether the server responds at all. The error is ErrUnavailable.
	Answers(ctx context.Context) error
	// Dialect returns how the server parses message text, by its version; the zero value
	// while that is unknown. It is refreshed now and then.
	Dialect(ctx context.Context) convert.Dialect
	// FindShown returns the message that shows an uploaded file, among those newer than
	// since; ok is false when there is none.
	FindShown(ctx context.Context, as model.Puppet, room ids.RCRoom, file string, since time.Time) (ids.RCMessage, bool, error)
	// Limits returns the limits of Rocket.Chat. They may be minutes old.
	Limits(ctx context.Context) (model.Limits, error)
	// Show sends the message that shows an uploaded file. Repeating it sends another one;
	// FindShown reports whether it was sent.
	Show(ctx context.Context, as model.Puppet, room ids.RCRoom, file string, thread ids.RCMessage, text string) (ids.RCMessage, error)
	// Upload stores a file for a room as a puppet, without a message that shows it.
	Upload(ctx context.Context, as model.Puppet, room ids.RCRoom, m model.Media) (file string, err error)
}

// fileStore is what files needs from the store.
type fileStore interface {
	// File returns the record of a file's copy on the other side.
	File(ctx context.Context, source string) (model.File, bool, error)
	// PutFile stores the record of a file's copy on the other side.
	PutFile(ctx context.Context, f model.File) error
}

// invitationMatrix is what invitations needs from Matrix.
type invitationMatrix interface {
	// Join makes one of our users join. invited reports that inviter had to invite it
	// first, which means that it was not in the room.
	Join(ctx context.Context, room ids.MXRoom, who, inviter ids.MXUser) (invited bool, err error)
	// Leave makes one of our users leave a room or reject an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// Refuse declines an invitation with a reason.
	Refuse(ctx context.Context, room ids.MXRoom, who ids.MXUser, reason string) error
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// invitationStore is what invitations needs from the store.
type invitationStore interface {
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}

// memberRocketChat is what members needs from Rocket.Chat.
type memberRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Remove removes a user from a room, as the bridge account.
	Remove(ctx context.Context, p model.Portal, who ids.RCUser) error
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// Tell sends a person a direct message from the bridge account.
	Tell(ctx context.Context, who model.RCPerson, text string) error
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
	// Usernames returns the members of a direct room that the bridge account is not in.
	Usernames(ctx context.Context, room ids.RCRoom) ([]string, error)
}

// memberStore is what members needs from the store.
type memberStore interface {
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// GhostByMX returns the ghost with the given address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}

// membershipMatrix is what memberships needs from Matrix.
type membershipMatrix interface {
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error)
}

// membershipRocketChat is what memberships needs from Rocket.Chat.
type membershipRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
}

// membershipStore is what memberships needs from the store.
type membershipStore interface {
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
}

// messageMatrix is what messages needs from Matrix.
type messageMatrix interface {
	// Follow reads a room through a ghost for some minutes, if the bridge gets no events
	// from it otherwise.
	Follow(ghost ids.MXUser)
}

// messageStore is what messages needs from the store.
type messageStore interface {
	// EventLinked reports whether a message already has a Matrix event.
	EventLinked(ctx context.Context, message ids.RCMessage) (bool, error)
	// MessageLinked reports whether a Matrix event already has a message.
	MessageLinked(ctx context.Context, event ids.MXEvent) (bool, error)
	// PutEdit stores which event an edit replaced.
	PutEdit(ctx context.Context, event, target ids.MXEvent) error
}

// personMatrix is what persons needs from Matrix.
type personMatrix interface {
	// Download fetches a file of at most limit bytes from any server. A transfer that
	// stalls for patience ends in ErrSlow, before or while the file is read.
	Download(ctx context.Context, mxc string, limit int64, patience time.Duration) (model.Media, error)
	// Profile describes a person of any server.
	Profile(ctx context.Context, user ids.MXUser) (model.MXProfile, error)
}

// personRocketChat is what persons needs from Rocket.Chat.
type personRocketChat interface {
	// SetAvatar sets a puppet's picture; an empty one removes it.
	SetAvatar(ctx context.Context, as model.Puppet, data []byte, contentType string) error
}

// personStore is what persons needs from the store.
type personStore interface {
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}

// pinRocketChat is what pins needs from Rocket.Chat.
type pinRocketChat interface {
	// Pin pins or unpins a message, as a puppet or, when as is nil, as
	// the bridge account.
	Pin(ctx context.Context, as *model.Puppet, id ids.RCMessage, on bool) error
}

// pollMatrix is what polls needs from Matrix.
type pollMatrix interface {
	// Event returns an event of a room, as reader.
	Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error)
	// Referring returns, as reader, the events with a relation to another one, such as
	// the answers to a poll ("m.reference").
	Referring(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent, relation string) ([]json.RawMessage, error)
}

// reactionRocketChat is what reactions needs from Rocket.Chat.
type reactionRocketChat interface {
	// Emoji returns a custom emoji of this Rocket.Chat by its name or an alias.
	Emoji(ctx context.Context, name string) (model.RCEmoji, bool)
	// React adds or removes a puppet's reaction, such as ":smile:".
	React(ctx context.Context, as model.Puppet, id ids.RCMessage, emoji string, on bool) error
}

// reactionStore is what reactions needs from the store.
type reactionStore interface {
	// DropReaction removes a stored reaction.
	DropReaction(ctx context.Context, r model.Reaction) error
	// LinksByEvent returns the parts of a message, looked up by one of its events.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
	// PuppetByRC returns the puppet with the given Rocket.Chat user ID.
	PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error)
	// PutReaction stores a reaction that exists on both sides.
	PutReaction(ctx context.Context, r model.Reaction) error
}

// redactionStore is what redactions needs from the store.
type redactionStore interface {
	// EditOf returns the event that an edit made on Matrix replaced; ok is false when the
	// event is not an edit that was relayed.
	EditOf(ctx context.Context, event ids.MXEvent) (target ids.MXEvent, ok bool, err error)
	// LinksByEvent returns the parts of a message, looked up by one of its events.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// ReactionByEvent returns the reaction with the given Matrix event.
	ReactionByEvent(ctx context.Context, event ids.MXEvent) (model.Reaction, bool, error)
}

// roleRocketChat is what roles needs from Rocket.Chat.
type roleRocketChat interface {
	// Change changes a room, as the bridge account if it can see the room.
	Change(ctx context.Context, p model.Portal, c model.RCRoomChange) error
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// Roles returns everybody with a role in a room.
	Roles(ctx context.Context, p model.Portal) (map[ids.RCUser]model.Role, error)
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
	// SetRole gives a person a role, and removes the others.
	SetRole(ctx context.Context, p model.Portal, who ids.RCUser, role model.Role) error
}

// roomMatrix is what rooms needs from Matrix.
type roomMatrix interface {
	// Download fetches a file of at most limit bytes from any server. A transfer that
	// stalls for patience ends in ErrSlow, before or while the file is read.
	Download(ctx context.Context, mxc string, limit int64, patience time.Duration) (model.Media, error)
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// roomRocketChat is what rooms needs from Rocket.Chat.
type roomRocketChat interface {
	// Change changes a room, as the bridge account if it can see the room.
	Change(ctx context.Context, p model.Portal, c model.RCRoomChange) error
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info model.RCRoomInfo, ok bool, err error)
}

// uneditMatrix is what unedits needs from Matrix.
type uneditMatrix interface {
	// Event returns an event of a room, as reader.
	Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error)
	// Referring returns, as reader, the events with a relation to another one, such as
	// the answers to a poll ("m.reference").
	Referring(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent, relation string) ([]json.RawMessage, error)
}

// uneditStore is what unedits needs from the store.
type uneditStore interface {
	// LinksByEvent returns the parts of a message, looked up by one of its events.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
}

// Store is what this package needs from the store.
type Store interface {
	baseStore
	callStore
	editStore
	fileStore
	invitationStore
	memberStore
	membershipStore
	messageStore
	personStore
	reactionStore
	redactionStore
	uneditStore
}

// RocketChat is what this package needs from Rocket.Chat.
type RocketChat interface {
	baseRocketChat
	editRocketChat
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
	fileMatrix
	invitationMatrix
	membershipMatrix
	messageMatrix
	personMatrix
	pollMatrix
	roomMatrix
	uneditMatrix
}
