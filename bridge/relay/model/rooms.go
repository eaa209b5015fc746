// Package model defines the terms that all parts of the relay share: rooms, people,
// messages and files on both sides, the kinds of items with their lanes, and the errors
// that decide what happens to an item. It does no I/O and knows no protocol.
package model

import (
	"cmp"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

// A Portal is a Rocket.Chat room and a Matrix room that form one conversation.
type Portal struct {
	RCRoom ids.RCRoom
	MXRoom ids.MXRoom
	RCType string // rocketchat.Channel, Group or Direct
	// RCReader is the puppet through which the Rocket.Chat room is read: the
	// bridge account cannot see direct rooms. Empty for the bridge account.
	RCReader ids.MXUser
	// MXReader is the ghost through which the Matrix room is read when the
	// bridge's own user is not in it. Empty for the bridge's own user.
	MXReader ids.MXUser
	Created  time.Time
	// Title is the room's name in Rocket.Chat as last seen; "" while unknown. A
	// direct room has none.
	Title string
}

// ReadAs returns the Matrix user through which the portal is read, given the
// bridge's own user.
func (p Portal) ReadAs(bot ids.MXUser) ids.MXUser { return cmp.Or(p.MXReader, bot) }

// Reader returns the Matrix user through which the portal is read, given the
// bridge's namespace.
func (p Portal) Reader(names ids.Namespace) ids.MXUser { return p.ReadAs(names.BotUser()) }

// IsDirect reports whether the Rocket.Chat room is a direct message, which
// nobody else can join.
func (p Portal) IsDirect() bool { return p.RCType == rocketchat.Direct }

// An RCRoomInfo describes a Rocket.Chat room as the relay needs it.
type RCRoomInfo struct {
	ID           ids.RCRoom
	Type         string
	Slug         string // the name in addresses and mentions; direct rooms have none
	Title        string
	Topic        string
	Announcement string
	Avatar       string // changes with the picture; "" when there is none
	Encrypted    bool
	ReadOnly     bool
	Archived     bool
}

// An RCRoomChange is a change to a Rocket.Chat room; nil leaves a field unchanged.
type RCRoomChange struct {
	Title      *string
	Topic      *string
	ReadOnly   *bool
	Avatar     []byte
	AvatarType string // content type of Avatar
}

// A Role is what a person may do in a room. Each role includes the rights
// of those before it.
type Role int

// The roles, as Rocket.Chat names them.
const (
	Member Role = iota
	Moderator
	Owner
)

// An MXRoomSpec describes a Matrix room to create.
type MXRoomSpec struct {
	Creator ids.MXUser
	RCRoom  ids.RCRoom // written into the room's m.bridge state
	Title   string
	Topic   string
	Site    string
	Direct  bool
	Invite  []ids.MXUser
	Powers  map[ids.MXUser]int
	Write   int // the power level needed to write
	// Past lets people who join read earlier messages: in a public channel, and where
	// there is a backfill.
	Past bool
}

// Values of m.room.history_visibility.
const (
	HistoryShared  = "shared"  // who joins can read everything, from the beginning
	HistoryInvited = "invited" // people can read what is said after their invitation
)

// An MXMember is a person in a Matrix room.
type MXMember struct {
	User       ids.MXUser
	Name       string
	Membership string // "join", "invite", "leave", "ban", "knock"
}

// An MXCreation describes how a Matrix room was created (m.room.create).
type MXCreation struct {
	Type string // "" for a room in which people talk, "m.space" for a list of rooms
	// Creators are the users who created the room. Since room version 12 they have
	// unlimited power and no entry in m.room.power_levels. Empty before that.
	Creators    []ids.MXUser
	Predecessor ids.MXRoom // the room that this one replaces; "" for none
	// HidesRedactions: redactions name their target inside the content (since
	// version 11), where some servers do not look for it.
	HidesRedactions bool
}

// A PublicRoom is a room in a server's room directory.
type PublicRoom struct {
	Room    ids.MXRoom
	Alias   string // "#name:server"; may be ""
	Name    string
	Topic   string
	Members int
}

// A BridgeInfo is what a bridge writes into a room that it bridges (MSC2346).
type BridgeInfo struct {
	Bot      ids.MXUser
	Protocol string // "rocketchat", "irc", ...
	Site     string // the address of the network
	Channel  string // the room on that network
}

// InvitePower is the power level needed to invite: a moderator's. In Rocket.Chat, members
// without a role may not add people to a room either.
const InvitePower = 50

// OwnerPower is the power level of an owner: less than the bridge's, so that the bridge
// can take the role back.
const OwnerPower = 90

// RCCursor names the cursor of a Rocket.Chat room: the timestamp, in milliseconds, of the
// newest change that was stored.
func RCCursor(room ids.RCRoom) string { return RCCursors + string(room) }

// RCCursors is the prefix of the names of all room cursors.
const RCCursors = "rc:"

// MaxHistory bounds the number of messages in a backfill.
const MaxHistory = 10000
