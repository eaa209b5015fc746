package relay

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

var errUnknownKind = errors.New("unknown kind of item")

// Store is what the relay must not forget. Package store implements it.
type Store interface {
	queue.Backend

	// Accept adds items and moves cursors in one transaction; see
	// queue.Backend.Add.
	Accept(ctx context.Context, now time.Time, items []queue.Item, cursors map[string]string) (int, error)
	// Cursor returns how far something was read, "" when it never was.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets how far something was read.
	MoveCursor(ctx context.Context, name, value string) error
	// Known returns those of the item IDs that were ever added.
	Known(ctx context.Context, itemIDs []string) (map[string]bool, error)

	// Waiting returns how many items of a lane wait.
	Waiting(ctx context.Context, lane string) (int, error)

	// Portals returns all portals.
	Portals(ctx context.Context) ([]Portal, error)
	PortalByRC(ctx context.Context, room ids.RCRoom) (Portal, bool, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (Portal, bool, error)
	// DropPortal forgets a portal. Its links stay.
	DropPortal(ctx context.Context, p Portal) error
	// PutPortal stores a portal and, in the same transaction, items and
	// cursors that belong to its beginning. An earlier portal of either room
	// is replaced.
	PutPortal(ctx context.Context, p Portal, items []queue.Item, cursors map[string]string) error

	GhostByRC(ctx context.Context, user ids.RCUser) (Ghost, bool, error)
	GhostByMX(ctx context.Context, user ids.MXUser) (Ghost, bool, error)
	// GhostsAfter returns the first ghosts after one, in the order of their
	// addresses.
	GhostsAfter(ctx context.Context, after ids.MXUser, limit int) ([]Ghost, error)
	// PutGhost stores a ghost or its new names.
	PutGhost(ctx context.Context, g Ghost) error

	PuppetByMX(ctx context.Context, user ids.MXUser) (Puppet, bool, error)
	PuppetByRC(ctx context.Context, user ids.RCUser) (Puppet, bool, error)
	PuppetByUsername(ctx context.Context, username string) (Puppet, bool, error)
	// PutPuppet stores a puppet or its new names or token.
	PutPuppet(ctx context.Context, p Puppet) error

	// PuppetMark returns what the account of a Matrix user carries because the
	// bridge made it: a secret that is made once, and stored before the account
	// is.
	PuppetMark(ctx context.Context, user ids.MXUser) (string, error)
	// PuppetsAfter returns the first Matrix users after one that have a puppet,
	// in the order of their addresses.
	PuppetsAfter(ctx context.Context, after ids.MXUser, limit int) ([]ids.MXUser, error)

	// EditOf returns the event that an edit made on Matrix replaced; ok is false
	// when the event is no edit that crossed.
	EditOf(ctx context.Context, event ids.MXEvent) (target ids.MXEvent, ok bool, err error)
	PutEdit(ctx context.Context, event, target ids.MXEvent) error

	// MarkKnown makes an item ID one that was added before: what it would
	// report is our own doing.
	MarkKnown(ctx context.Context, itemID string) error

	// LinksByEvent and LinksByMessage return the parts of a message.
	LinksByEvent(ctx context.Context, event ids.MXEvent) ([]queue.Receipt, error)
	LinksByMessage(ctx context.Context, message ids.RCMessage) ([]queue.Receipt, error)
	// DropLink forgets a part of a message, which is no more.
	DropLink(ctx context.Context, link queue.Receipt) error
	// Reactions returns the reactions to a message that are on both sides.
	Reactions(ctx context.Context, message ids.RCMessage) ([]Reaction, error)
	ReactionByEvent(ctx context.Context, event ids.MXEvent) (Reaction, bool, error)
	PutReaction(ctx context.Context, r Reaction) error
	DropReaction(ctx context.Context, r Reaction) error

	// File returns what a file has become on the other side.
	File(ctx context.Context, source string) (File, bool, error)
	PutFile(ctx context.Context, f File) error

	// MessageLinked reports whether a Matrix event has a message already.
	MessageLinked(ctx context.Context, event ids.MXEvent) (bool, error)
	// EventLinked reports whether a message has a Matrix event already.
	EventLinked(ctx context.Context, message ids.RCMessage) (bool, error)
}

// RocketChat is one of the two networks. Package rcside implements it. Methods
// may block until the network has answered or a timeout of some tens of seconds
// has passed; all may be repeated without another effect than once.
type RocketChat interface {
	RocketChatSigns
	RocketChatProfiles
	RocketChatPublic
	// Unwatch makes the side stop reading the room of a portal that is no more.
	Unwatch(p Portal)

	// Watch makes the side read the room of a portal from now on.
	Watch(p Portal)
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// UserByName and UserByID look somebody up; ok is false when there is no
	// such user.
	UserByName(ctx context.Context, username string) (p RCPerson, ok bool, err error)
	UserByID(ctx context.Context, id ids.RCUser) (p RCPerson, ok bool, err error)
	// CreatePuppet makes the account for a Matrix user, or finds the one that
	// an earlier call made.
	CreatePuppet(ctx context.Context, user ids.MXUser, name string) (Puppet, error)
	// Rename changes a puppet's display name.
	Rename(ctx context.Context, p Puppet, name string) error
	// Send puts a message into a room as a puppet, into the thread of another
	// message where one is named.
	Send(ctx context.Context, as Puppet, room ids.RCRoom, id, thread ids.RCMessage, text string) error
	// Limits returns what Rocket.Chat takes. It may be minutes old.
	Limits(ctx context.Context) (Limits, error)
	// Dialect is how the server reads the text of messages, by its version; the zero
	// value while that is unknown. It is asked for again now and then.
	Dialect(ctx context.Context) convert.Dialect
	// Open fetches an uploaded file of a portal's room, of at most limit bytes.
	Open(ctx context.Context, p Portal, link string, limit int64) (Media, error)
	// Upload stores a file for a room as a puppet; no message shows it yet.
	Upload(ctx context.Context, as Puppet, room ids.RCRoom, m Media) (file string, err error)
	// Show makes the message that shows an uploaded file. Repeating it makes
	// another one: FindShown tells whether it was made, among what is newer
	// than since.
	Show(ctx context.Context, as Puppet, room ids.RCRoom, file string, thread ids.RCMessage, text string) (ids.RCMessage, error)
	FindShown(ctx context.Context, as Puppet, room ids.RCRoom, file string, since time.Time) (ids.RCMessage, bool, error)
	// Edit changes a puppet's message.
	Edit(ctx context.Context, as Puppet, room ids.RCRoom, id ids.RCMessage, text string) error
	// Delete deletes a message as a puppet, or as the bridge account when as
	// is nil. One that is gone is ErrNotFound.
	Delete(ctx context.Context, as *Puppet, room ids.RCRoom, id ids.RCMessage) error
	// React adds a puppet's reaction, such as ":smile:", or takes it back.
	React(ctx context.Context, as Puppet, id ids.RCMessage, emoji string, on bool) error
	// Pin pins a message, or takes it off, as a puppet or, when as is nil, as the
	// bridge account.
	Pin(ctx context.Context, as *Puppet, id ids.RCMessage, on bool) error
	// Usernames returns who is in a direct room that the bridge account is not in.
	Usernames(ctx context.Context, room ids.RCRoom) ([]string, error)
	// Direct returns the direct room of a puppet and a user.
	Direct(ctx context.Context, as Puppet, with RCPerson) (ids.RCRoom, error)
	// CreateGroup makes a private group that belongs to owner and that the
	// bridge account can read. A group that an interrupted call left behind is
	// taken when unused says that it is no portal.
	CreateGroup(ctx context.Context, title string, owner RCPerson, unused func(ids.RCRoom) (bool, error)) (RCRoomInfo, error)
	// Room describes a room the bridge account can see.
	Room(ctx context.Context, room ids.RCRoom) (info RCRoomInfo, ok bool, err error)
	// Change changes a room, as the bridge account where it can see it.
	Change(ctx context.Context, p Portal, c RCRoomChange) error
	// Roles returns everybody with a role in a room.
	Roles(ctx context.Context, p Portal) (map[ids.RCUser]Role, error)
	// SetRole gives somebody a role, and takes the others away.
	SetRole(ctx context.Context, p Portal, who ids.RCUser, role Role) error
	// Add and Remove change the membership of a room, as the bridge account.
	Add(ctx context.Context, p Portal, who ids.RCUser) error
	Remove(ctx context.Context, p Portal, who ids.RCUser) error
	// Members lists the people in a room.
	Members(ctx context.Context, p Portal) ([]RCPerson, error)
	// History returns what people said in a room, as items, oldest first: the
	// last messages, and none from before since.
	History(ctx context.Context, room RCRoomInfo, last int, since time.Time) ([]queue.Item, error)
	// Tell sends somebody a direct message from the bridge account.
	Tell(ctx context.Context, who RCPerson, text string) error
	// Say puts a message of the bridge account into a room.
	Say(ctx context.Context, room ids.RCRoom, text string) error
}

// Matrix is the other network. Package mxside implements it; what is said of
// RocketChat holds for it too.
type Matrix interface {
	MatrixSigns
	MatrixProfiles
	MatrixRooms
	MatrixPublic

	// Register makes sure that a ghost exists and carries a display name.
	Register(ctx context.Context, ghost ids.MXUser, name string) error
	// CreateRoom makes a room. It is the one call that makes another room
	// when it is repeated.
	CreateRoom(ctx context.Context, spec MXRoomSpec) (ids.MXRoom, error)
	// Invite lets one of our users invite somebody.
	Invite(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Join makes one of our users join, inviting it as inviter when it has to be.
	Join(ctx context.Context, room ids.MXRoom, who, inviter ids.MXUser) error
	// Leave makes one of our users leave or refuse an invitation.
	Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error
	// Kick removes somebody, as one of our users.
	Kick(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// Ban removes somebody and keeps them out; Unban lets them come back.
	Ban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	Unban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error
	// State returns the content of a piece of state, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
	// SetState sets a piece of state.
	SetState(ctx context.Context, room ids.MXRoom, as ids.MXUser, kind, key string, content any) error
	// Creation returns how a room began, as reader.
	Creation(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (MXCreation, error)
	// Mend makes servers that lack events of a room ask for them. People see
	// nothing of it.
	Mend(ctx context.Context, room ids.MXRoom, as ids.MXUser) error
	// Event returns an event of a room, as reader.
	Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error)
	// Referring returns the events that have a relation to another one, such as
	// the answers to a poll ("m.reference"), as reader.
	Referring(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent, relation string) ([]json.RawMessage, error)
	// JoinVia makes one of our users join a room that one of the servers knows.
	JoinVia(ctx context.Context, room ids.MXRoom, who ids.MXUser, via ...string) error
	// Send sends a message as a ghost. source is carried inside the event.
	Send(ctx context.Context, room ids.MXRoom, as ids.MXUser, txn, source string, at time.Time, c convert.Content) (ids.MXEvent, error)
	// Limits returns what the homeserver takes. It may be minutes old.
	Limits(ctx context.Context) (Limits, error)
	// Upload stores a file, as a ghost. Its address is an mxc:// one.
	Upload(ctx context.Context, as ids.MXUser, m Media) (mxc string, err error)
	// Download fetches a file of any server, of at most limit bytes. A transfer in
	// which nothing arrives for patience ends in ErrSlow, before or while it is
	// read.
	Download(ctx context.Context, mxc string, limit int64, patience time.Duration) (Media, error)
	// Redact takes an event back.
	Redact(ctx context.Context, room ids.MXRoom, as ids.MXUser, event ids.MXEvent, txn string) error
	// React sends an m.reaction event.
	React(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent, key, txn string) (ids.MXEvent, error)
	// FindSent looks for an event that Send sent for source, as reader, among
	// those that are newer than the last one that is linked. When it finds
	// none there is none, also not one that the homeserver still works on.
	FindSent(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source string) (ids.MXEvent, bool, error)
	// Invitations lists what a ghost was invited to and has not answered, by
	// an ID of each.
	Invitations(ctx context.Context, ghost ids.MXUser) (map[string]Invitation, error)
	// Members lists everybody in a room, as reader.
	Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]MXMember, error)
	// Notice puts words of the bridge into a room, as reader.
	Notice(ctx context.Context, room ids.MXRoom, reader ids.MXUser, txn, text string) error
}
