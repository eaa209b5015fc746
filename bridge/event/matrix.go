package event

import (
	"encoding/json"
	"fmt"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
)

// An MXHead holds what all events of a Matrix room have in common.
type MXHead struct {
	ID     ids.MXEvent
	Room   ids.MXRoom
	Sender ids.MXUser
	Time   int64 // milliseconds, set by the sender's server: not to be trusted

	raw []byte // as the homeserver sent it
}

// MXWritten: a person wrote a message, sent a file or edited one.
type MXWritten struct {
	MXHead
	Event convert.Event
}

// MXFileLate: the file of a message is delivered after the message.
type MXFileLate struct {
	MXHead
	Event convert.Event
}

// MXReacted: a person reacted to an event. Target is empty if the reaction cannot
// be understood.
type MXReacted struct {
	MXHead
	Target ids.MXEvent
	Key    string // an emoji, or the address of a picture
	Name   string // the picture's name in the sender's client
}

// MXRedacted: an event was redacted. Target is empty if none is named.
type MXRedacted struct {
	MXHead
	Target ids.MXEvent
}

// MXCall: a person starts, joins or leaves a call.
type MXCall struct {
	MXHead
	Begins bool // or joins
	OfTwo  bool // an event type that only starts calls between two people
}

// MXPoll: a poll started, or one ended.
type MXPoll struct {
	MXHead
	Poll *convert.Poll // the question and its answers; nil if a poll ended
	Ends ids.MXEvent   // the poll that ended; "" if none is named
}

// MXUnreadable: an encrypted event was sent.
type MXUnreadable struct{ MXHead }

// MXMember: a person's membership in a room was set, possibly without changing anything.
type MXMember struct {
	MXHead
	User       ids.MXUser // the member; Sender set the membership
	Membership string     // "join", "leave", "ban", "invite", "knock"
	Name       string     // the display name
	Avatar     string     // "mxc://server/id"
	Direct     bool       // for an invitation: the room is for a direct chat
	RoomName   string     // for an invitation, if the homeserver provides it
}

// MXRoom: the state of a room itself was set, possibly without changing anything.
type MXRoom struct {
	MXHead
	State State
}

// MXPerson: something about a Matrix user may have changed.
type MXPerson struct{ User ids.MXUser }

// MXMembership: a room has just been connected, and its members join in Rocket.Chat.
type MXMembership struct{ Room ids.MXRoom }

// MXInvited: a ghost was invited to a room.
type MXInvited struct {
	Room    ids.MXRoom `json:"room_id"`
	Ghost   ids.MXUser `json:"ghost"`
	Inviter ids.MXUser `json:"inviter"`
	Direct  bool       `json:"is_direct"`
	Name    string     `json:"name,omitempty"` // of the room, if the invitation contains it
}

// MXDecline: the bridge has to decline an invitation.
type MXDecline struct {
	Room   ids.MXRoom `json:"room"`
	Ghost  ids.MXUser `json:"ghost"`
	Reason string     `json:"reason"`
}

// A StateChange names the part of a room's state that was set.
type StateChange int

// The parts of the state that cross.
const (
	SetName StateChange = iota + 1
	SetTopic
	SetPicture
	SetPowers
	SetReplacement // the room is replaced by another one
	SetEncryption  // messages are encrypted from now on
	SetPins
)

// String returns the Matrix name of the change, for logs.
func (c StateChange) String() string {
	for name, change := range stateChanges {
		if change == c {
			return name
		}
	}
	return "unknown"
}

// A State is one part of a room's state.
type State struct {
	Change StateChange
	// Text is the name, the topic, the address of the picture, or the room that
	// replaces this one.
	Text   string
	Powers convert.Powers
	Pinned []ids.MXEvent // the newest ones, at most maxPins
}

// maxPins is how many of a room's pinned events are considered, counted from the newest.
const maxPins = 100

// maxID is the maximum length of a Matrix identifier, in bytes (specification, "Size limits").
const maxID = 255

// stateChanges maps the event types of the state that crosses.
var stateChanges = map[string]StateChange{
	"m.room.name": SetName, "m.room.topic": SetTopic, "m.room.avatar": SetPicture, "m.room.power_levels": SetPowers,
	"m.room.tombstone": SetReplacement, "m.room.encryption": SetEncryption, "m.room.pinned_events": SetPins,
}

// kindsOfTypes maps the types of events that are not state.
var kindsOfTypes = map[string]string{
	"m.room.message": KindMXMessage, "m.sticker": KindMXMessage,
	"m.reaction": KindMXReact, "m.room.redaction": KindMXRedact, "m.room.encrypted": KindMXSecret,
	"m.poll.start": KindMXPoll, "m.poll.end": KindMXPoll, // MSC3381, and before it was accepted:
	"org.matrix.msc3381.poll.start": KindMXPoll, "org.matrix.msc3381.poll.end": KindMXPoll,
}

// ReadMatrix reads an event as a homeserver sent it. room is given if the event does
// not name it, and is "" otherwise. e is nil for an event that does not cross; head
// is set all the same. An error means that this is not an event, or that it exceeds
// the size limits of events.
func ReadMatrix(raw []byte, room ids.MXRoom) (head MXHead, e Event, err error) {
	if err := bounded(raw); err != nil {
		return head, nil, err
	}
	in, err := convert.ParseEvent(raw)
	if err != nil {
		return head, nil, unreadable(err)
	}
	if room != "" && in.Room != string(room) {
		in.Room = string(room)
		if raw, err = withKeys(raw, `"room_id":`+quote(room)); err != nil {
			return head, nil, err
		}
	}
	head = headOf(in, raw)
	if tooLong(in.ID, in.Sender, in.StateKey, in.Room) {
		return head, nil, ErrSize
	}
	if in.ID == "" || in.Room == "" {
		return head, nil, nil
	}
	return head, sort(head, in), nil
}

// sort returns the event in its own type, or nil if it does not cross.
func sort(head MXHead, in convert.Event) Event {
	switch kind := kindsOfTypes[in.Type]; {
	case kind == KindMXMessage:
		return MXWritten{head, in}
	case kind == KindMXReact:
		return newMXReacted(head, in)
	case kind == KindMXRedact:
		return newMXRedacted(head, in)
	case kind == KindMXSecret:
		return MXUnreadable{head}
	case kind == KindMXPoll:
		return newMXPoll(head, in)
	case slices.Contains(convert.CallTypes, in.Type):
		return newMXCall(head, in)
	case in.Type == "m.room.member" && in.StateKey != "":
		return newMXMember(head, in)
	case stateChanges[in.Type] != 0 && in.StateKey == "":
		return newMXRoom(head, in)
	}
	return nil
}

// Invitation returns the invitation event, for a membership event that invites a
// ghost.
func (e MXMember) Invitation() MXInvited {
	return MXInvited{Room: e.Room, Ghost: e.User, Inviter: e.Sender, Direct: e.Direct, Name: e.RoomName}
}

// ReadState reads the content of a state event with an empty key. ok is false for
// state that does not cross.
func ReadState(kind string, content json.RawMessage) (s State, ok bool) {
	s.Change = stateChanges[kind]
	switch s.Change {
	case SetName:
		s.Text = convert.StateText(content, "name")
	case SetTopic:
		s.Text = convert.StateText(content, "topic")
	case SetPicture:
		s.Text = convert.StateText(content, "url")
	case SetReplacement:
		s.Text = convert.StateText(content, "replacement_room")
	case SetPowers:
		s.Powers = convert.ParsePowers(content)
	case SetPins:
		var c struct {
			Pinned []ids.MXEvent `json:"pinned"`
		}
		_ = json.Unmarshal(content, &c) // anything but a list counts as empty
		s.Pinned = c.Pinned[max(0, len(c.Pinned)-maxPins):]
	case SetEncryption:
	}
	return s, s.Change != 0
}

func headOf(in convert.Event, raw []byte) MXHead {
	return MXHead{ID: ids.MXEvent(in.ID), Room: ids.MXRoom(in.Room), Sender: ids.MXUser(in.Sender), Time: in.Timestamp, raw: raw}
}

func newMXReacted(head MXHead, in convert.Event) MXReacted {
	target, key, name, ok := in.Reaction()
	if !ok {
		return MXReacted{MXHead: head}
	}
	return MXReacted{head, ids.MXEvent(target), key, name}
}

func newMXRedacted(head MXHead, in convert.Event) MXRedacted {
	return MXRedacted{head, ids.MXEvent(in.Redacts())}
}

func newMXCall(head MXHead, in convert.Event) MXCall {
	return MXCall{head, in.BeginsCall(), in.Type == convert.CallTypes[0]}
}

func newMXPoll(head MXHead, in convert.Event) MXPoll {
	e := MXPoll{MXHead: head}
	if poll, ok := in.Poll(); ok {
		e.Poll = &poll
	} else if target, ok := in.PollTarget(); ok {
		e.Ends = ids.MXEvent(target)
	}
	return e
}

func newMXMember(head MXHead, in convert.Event) MXMember {
	e := MXMember{head, ids.MXUser(in.StateKey), in.Content.Membership, in.Content.Name, in.Avatar(), in.Content.Direct, ""}
	if e.Membership == "invite" {
		e.RoomName = in.InvitedTo()
	}
	return e
}

func newMXRoom(head MXHead, in convert.Event) MXRoom {
	s, _ := ReadState(in.Type, in.State())
	return MXRoom{head, s}
}

// ofMatrix returns a decoder for events whose source is a Matrix event.
func ofMatrix[E Event](is func(MXHead, convert.Event) E) func([]byte) (Event, error) {
	return func(stored []byte) (Event, error) {
		in, err := convert.ParseEvent(stored)
		if err != nil {
			return nil, unreadable(err)
		}
		return is(headOf(in, stored), in), nil
	}
}

// bare returns a decoder for events whose source is an identifier.
func bare[E Event](is func(id string) E) func([]byte) (Event, error) {
	return func(stored []byte) (Event, error) { return is(string(stored)), nil }
}

// decodeJSON decodes an event that is its own source.
func decodeJSON[E Event](stored []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(stored, &e); err != nil {
		return nil, unreadable(err)
	}
	return e, nil
}

func unreadable(err error) error { return fmt.Errorf("read a stored event: %w", err) }

// tooLong reports whether any of the strings is too long to be an identifier.
func tooLong(list ...string) bool {
	return slices.ContainsFunc(list, func(id string) bool { return len(id) > maxID })
}

func quote(room ids.MXRoom) string {
	data, _ := json.Marshal(room) // marshalling a string cannot fail
	return string(data)
}

// Kind implements Event.
func (MXWritten) Kind() string { return KindMXMessage }

// Kind implements Event.
func (MXFileLate) Kind() string { return KindMXFile }

// Kind implements Event.
func (MXReacted) Kind() string { return KindMXReact }

// Kind implements Event.
func (MXRedacted) Kind() string { return KindMXRedact }

// Kind implements Event.
func (MXCall) Kind() string { return KindMXCall }

// Kind implements Event.
func (MXPoll) Kind() string { return KindMXPoll }

// Kind implements Event.
func (MXUnreadable) Kind() string { return KindMXSecret }

// Kind implements Event.
func (MXMember) Kind() string { return KindMXMember }

// Kind implements Event.
func (MXRoom) Kind() string { return KindMXRoom }

// Kind implements Event.
func (MXPerson) Kind() string { return KindMXPerson }

// Kind implements Event.
func (MXMembership) Kind() string { return KindMXMembership }

// Kind implements Event.
func (MXInvited) Kind() string { return KindMXInvite }

// Kind implements Event.
func (MXDecline) Kind() string { return KindMXDecline }

func (h MXHead) source() ([]byte, error)       { return h.raw, nil }
func (e MXPerson) source() ([]byte, error)     { return []byte(e.User), nil }
func (e MXMembership) source() ([]byte, error) { return []byte(e.Room), nil }
func (e MXInvited) source() ([]byte, error)    { return json.Marshal(e) }
func (e MXDecline) source() ([]byte, error)    { return json.Marshal(e) }
