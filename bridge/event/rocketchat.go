package event

import (
	"encoding/json"
	"strings"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

// The source of most Rocket.Chat events is a message: a document in a room's
// timeline, in the state in which the bridge saw it.

// RCWritten: a person wrote a message, or a system message reports something that a person started.
type RCWritten struct{ Message rocketchat.Message }

// RCEdited: a message was edited. Message is its newest version.
type RCEdited struct{ Message rocketchat.Message }

// RCDeleted: a message was deleted. Only the IDs in Message are known.
type RCDeleted struct{ Message rocketchat.Message }

// RCFilesLate: files of a message are delivered after it. Message has only these files.
type RCFilesLate struct{ Message rocketchat.Message }

// RCReacted: the reactions to a message have changed. Message has all current ones.
type RCReacted struct{ Message rocketchat.Message }

// RCPinned: a message was pinned or unpinned; see Message.Pinned.
type RCPinned struct{ Message rocketchat.Message }

// RCUnreadable: a message was written that is end-to-end encrypted in Rocket.Chat.
type RCUnreadable struct{ Message rocketchat.Message }

// RCMember: a person entered or left a room.
type RCMember struct {
	Message  rocketchat.Message
	Change   MemberChange
	By       rocketchat.UserRef // who did it
	Username string             // of the affected user; for Joined and Left, the same as By
}

// RCRoom: a room itself was changed, by Message.User.
type RCRoom struct {
	Message rocketchat.Message
	Change  RoomChange
}

// RCPerson: something about a Rocket.Chat user may have changed.
type RCPerson struct{ User ids.RCUser }

// RCEcho: the homeserver shows an event that the bridge sent on behalf of Rocket.Chat, but
// that no link refers to.
type RCEcho struct{ Event ids.MXEvent }

// RCMembership: a room has just been connected, and its members join on Matrix.
type RCMembership struct{ Room ids.RCRoom }

// RCInvite: an invitation from Rocket.Chat that waits until the history of a room
// has been backfilled.
type RCInvite struct {
	Caller Caller     `json:"caller"`
	Target ids.MXUser `json:"target"`
	Room   ids.RCRoom `json:"room"`
}

// A Caller is the user who typed a command in Rocket.Chat.
type Caller struct {
	ID       ids.RCUser
	Username string
	Name     string
}

// RCDirect: it seems that someone wrote to a puppet in a direct room that is not a
// portal.
type RCDirect struct {
	Room   ids.RCRoom `json:"room"`
	Author ids.RCUser `json:"author,omitempty"` // the sender, if known
	Since  time.Time  `json:"since"`            // messages from then on cross
}

// A MemberChange is how a person entered or left a Rocket.Chat room.
type MemberChange int

// The ways of entering and leaving a room.
const (
	Unknown  MemberChange = iota // a stored event of a type that this release does not know
	Joined                       // of their own accord
	Left                         // of their own accord
	Added                        // by another user
	Removed                      // by another user
	Banned                       // and may not come back
	Unbanned                     // and may come back
)

// A RoomChange is the part of a Rocket.Chat room that changed.
type RoomChange int

// The parts of a room that change.
const (
	Name         RoomChange = iota + 1
	Topic                   //
	Picture                 //
	Announcement            // Message.Text is the new one
	Privacy                 // public or private
	Roles                   // of the user named in Message.Text
	Writers                 // read-only or archived, or no longer so
)

// memberChanges and roomChanges map the types of system messages (facts of Rocket.Chat
// 7 and 8).
var (
	memberChanges = map[string]MemberChange{
		"uj": Joined, "ut": Joined, "ujt": Joined,
		"ul": Left, "ult": Left,
		"au": Added, "added-user-to-team": Added,
		"ru": Removed, "removed-user-from-team": Removed,
		"user-banned": Banned, "user-unbanned": Unbanned,
	}
	roomChanges = map[string]RoomChange{
		"r": Name, "room_changed_topic": Topic, "room_changed_avatar": Picture,
		"room_changed_announcement": Announcement, "room_changed_privacy": Privacy,
		"subscription-role-added": Roles, "subscription-role-removed": Roles,
		"room-archived": Writers, "room-unarchived": Writers, "room-set-read-only": Writers, "room-removed-read-only": Writers,
	}
)

const (
	typeRemoved    = "rm"
	typeEncrypted  = "e2e"
	typeDiscussion = "discussion-created"
	typeCall       = "videoconf"
)

// Deleted returns the event for a message of which only the deletion is known, in
// the form that Rocket.Chat gives to deleted messages that leave a trace.
func Deleted(room, id string) RCDeleted {
	return RCDeleted{rocketchat.Message{ID: id, RoomID: room, Type: typeRemoved}}
}

// OfSystemMessage returns the event that a system message stands for. ok is false
// for messages that people wrote, and for those that do not cross.
func OfSystemMessage(m rocketchat.Message) (e Event, ok bool) {
	switch m.Type {
	case "":
		return nil, false
	case typeRemoved:
		return RCDeleted{m}, true
	case typeEncrypted:
		return RCUnreadable{m}, true
	case typeDiscussion, typeCall:
		return RCWritten{begun(m)}, true
	}
	if _, ok := memberChanges[m.Type]; ok {
		return newRCMember(m), true
	}
	if _, ok := roomChanges[m.Type]; ok {
		return newRCRoom(m), true
	}
	return nil, false
}

// begun turns a system message about something that a person started into an ordinary one.
func begun(m rocketchat.Message) rocketchat.Message {
	switch name := strings.TrimSpace(m.Text); {
	case m.Type == typeCall:
		m.Text = "_started a call in Rocket.Chat_"
	case name == "":
		m.Text = "_started a discussion_"
	default:
		m.Text = "_started a discussion:_ " + name
	}
	m.Type = ""
	return m
}

func newRCMember(m rocketchat.Message) RCMember {
	e := RCMember{Message: m, Change: memberChanges[m.Type], By: m.User, Username: m.Text}
	if e.Change == Joined || e.Change == Left {
		e.Username = m.User.Username
	}
	return e
}

// newRCRoom reads a change of a room. An unknown type counts as a change of who may
// write, as in releases without versions.
func newRCRoom(m rocketchat.Message) RCRoom {
	change, ok := roomChanges[m.Type]
	if !ok {
		change = Writers
	}
	return RCRoom{Message: m, Change: change}
}

// ofMessage returns a decoder for events whose source is a Rocket.Chat message.
func ofMessage[E Event](is func(rocketchat.Message) E) func([]byte) (Event, error) {
	return func(stored []byte) (Event, error) {
		var m rocketchat.Message
		if err := json.Unmarshal(stored, &m); err != nil {
			return nil, unreadable(err)
		}
		return is(m), nil
	}
}

// Kind implements Event.
func (RCWritten) Kind() string { return KindRCMessage }

// Kind implements Event.
func (RCEdited) Kind() string { return KindRCEdit }

// Kind implements Event.
func (RCDeleted) Kind() string { return KindRCDelete }

// Kind implements Event.
func (RCFilesLate) Kind() string { return KindRCFiles }

// Kind implements Event.
func (RCReacted) Kind() string { return KindRCReact }

// Kind implements Event.
func (RCPinned) Kind() string { return KindRCPin }

// Kind implements Event.
func (RCUnreadable) Kind() string { return KindRCSecret }

// Kind implements Event.
func (RCMember) Kind() string { return KindRCMember }

// Kind implements Event.
func (RCRoom) Kind() string { return KindRCRoom }

// Kind implements Event.
func (RCPerson) Kind() string { return KindRCPerson }

// Kind implements Event.
func (RCEcho) Kind() string { return KindRCEcho }

// Kind implements Event.
func (RCMembership) Kind() string { return KindRCMembership }

// Kind implements Event.
func (RCInvite) Kind() string { return KindRCInvite }

// Kind implements Event.
func (RCDirect) Kind() string { return KindRCDirect }

func (e RCWritten) source() ([]byte, error)    { return json.Marshal(e.Message) }
func (e RCEdited) source() ([]byte, error)     { return json.Marshal(e.Message) }
func (e RCDeleted) source() ([]byte, error)    { return json.Marshal(e.Message) }
func (e RCFilesLate) source() ([]byte, error)  { return json.Marshal(e.Message) }
func (e RCReacted) source() ([]byte, error)    { return json.Marshal(e.Message) }
func (e RCPinned) source() ([]byte, error)     { return json.Marshal(e.Message) }
func (e RCUnreadable) source() ([]byte, error) { return json.Marshal(e.Message) }
func (e RCMember) source() ([]byte, error)     { return json.Marshal(e.Message) }
func (e RCRoom) source() ([]byte, error)       { return json.Marshal(e.Message) }
func (e RCPerson) source() ([]byte, error)     { return []byte(e.User), nil }
func (e RCEcho) source() ([]byte, error)       { return []byte(e.Event), nil }
func (e RCMembership) source() ([]byte, error) { return []byte(e.Room), nil }
func (e RCInvite) source() ([]byte, error)     { return json.Marshal(e) }
func (e RCDirect) source() ([]byte, error)     { return json.Marshal(e) }
