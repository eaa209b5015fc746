package event

import (
	"encoding/json"
	"strings"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

// The source of most events of Rocket.Chat is a message: a document of a room's
// timeline, as it was when it was seen.

// RCWritten: a person wrote a message, or a system rocketchat.Message says what a person began.
type RCWritten struct{ Message rocketchat.Message }

// RCEdited: a message was edited. Message is its newest version.
type RCEdited struct{ Message rocketchat.Message }

// RCDeleted: a message was deleted. Of Message only the IDs are known.
type RCDeleted struct{ Message rocketchat.Message }

// RCFilesLate: files of a message follow it. Message has these files alone.
type RCFilesLate struct{ Message rocketchat.Message }

// RCReacted: the reactions to a message have changed. Message has all there are now.
type RCReacted struct{ Message rocketchat.Message }

// RCPinned: a message was pinned or taken off; see Message.Pinned.
type RCPinned struct{ Message rocketchat.Message }

// RCUnreadable: a message was written that is encrypted in Rocket.Chat.
type RCUnreadable struct{ Message rocketchat.Message }

// RCMember: a person came to a room or left it.
type RCMember struct {
	Message  rocketchat.Message
	Change   MemberChange
	By       rocketchat.UserRef // who did it
	Username string             // of whom it was done to; of who came or went alone, theirs
}

// RCRoom: a room itself was changed, by Message.User.
type RCRoom struct {
	Message rocketchat.Message
	Change  RoomChange
}

// RCPerson: something about a Rocket.Chat user may have changed.
type RCPerson struct{ User ids.RCUser }

// RCEcho: the homeserver shows an event that the bridge sent for something in Rocket.Chat,
// and no link names it.
type RCEcho struct{ Event ids.MXEvent }

// RCMembership: a room has just been connected, and its members join on Matrix.
type RCMembership struct{ Room ids.RCRoom }

// RCInvite: an invitation from Rocket.Chat that waits until the past of a room has
// been carried.
type RCInvite struct {
	Caller Caller     `json:"caller"`
	Target ids.MXUser `json:"target"`
	Room   ids.RCRoom `json:"room"`
}

// A Caller is who typed a command in Rocket.Chat.
type Caller struct {
	ID       ids.RCUser
	Username string
	Name     string
}

// RCDirect: a message to a puppet seems to have been written in a direct room that is
// no portal.
type RCDirect struct {
	Room   ids.RCRoom `json:"room"`
	Author ids.RCUser `json:"author,omitempty"` // who wrote, where that is known
	Since  time.Time  `json:"since"`            // what was said from then on crosses
}

// A MemberChange is how a person came to a room of Rocket.Chat or left it.
type MemberChange int

// How a person comes and goes.
const (
	Unknown  MemberChange = iota // a stored event of a kind that this release does not sort
	Joined                       // by themselves
	Left                         // by themselves
	Added                        // by another user
	Removed                      // by another user
	Banned                       // and may not come back
	Unbanned                     // and may come back
)

// A RoomChange is what has changed of a room of Rocket.Chat.
type RoomChange int

// What changes of a room.
const (
	Name         RoomChange = iota + 1
	Topic                   //
	Picture                 //
	Announcement            // Message.Text is the new one
	Privacy                 // public or private
	Roles                   // of the user whom Message.Text names
	Writers                 // read-only or archived, or no longer
)

// memberChanges and roomChanges sort the types of system rocketchat.Messages (facts of
// Rocket.Chat 7 and 8).
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

// Deleted returns the event of a message of which is known only that it was deleted,
// in the form that Rocket.Chat gives to those of which a trace stays.
func Deleted(room, id string) RCDeleted {
	return RCDeleted{rocketchat.Message{ID: id, RoomID: room, Type: typeRemoved}}
}

// OfSystemMessage returns what a message says that people did not write. ok is false
// for a message that they wrote, and for what does not cross.
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

// begun makes a message of a system rocketchat.Message that says what a person has begun.
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

// newRCRoom reads a change of a room. What is of no known type is taken for one of who
// may write, as the releases without versions did.
func newRCRoom(m rocketchat.Message) RCRoom {
	change, ok := roomChanges[m.Type]
	if !ok {
		change = Writers
	}
	return RCRoom{Message: m, Change: change}
}

// ofMessage returns what reads an event whose source is a message of Rocket.Chat.
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
