// Package event holds the events that the two sides exchange, as Go types, and the
// form in which they are stored until they are delivered. A side turns what it
// receives into one of these types (OfSystemMessage, ReadMatrix) and stores it
// (Item); the relay reads it back (Decode) and has a handler for each type. Nothing
// else looks at the names that the two protocols give to kinds of events.
//
// The source is stored as the network sent it, not as the bridge understood it: an
// item that failed because of a bug is read again by the release that fixes it. The
// version of the form is stored beside the source; see Version.
//
// The package does no I/O. All of its input is hostile until it has been parsed:
// sizes and depths are bounded, and fields of the wrong type count as absent.
package event

import (
	"maps"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

// Kinds of events, as they are stored, logged and counted. The values are kept as
// earlier releases wrote them.
const (
	KindRCMessage    = "rc.message"
	KindRCEdit       = "rc.edit"
	KindRCDelete     = "rc.delete"
	KindRCFiles      = "rc.files"
	KindRCReact      = "rc.react"
	KindRCPin        = "rc.pin"
	KindRCSecret     = "rc.secret"
	KindRCMember     = "rc.member"
	KindRCRoom       = "rc.room"
	KindRCPerson     = "rc.person"
	KindRCMembership = "rc.roster"
	KindRCInvite     = "rc.invite"
	KindRCDirect     = "rc.direct"
	KindRCEcho       = "rc.echo"

	KindMXMessage    = "mx.message"
	KindMXFile       = "mx.file"
	KindMXReact      = "mx.react"
	KindMXRedact     = "mx.redact"
	KindMXCall       = "mx.call"
	KindMXPoll       = "mx.poll"
	KindMXSecret     = "mx.secret"
	KindMXMember     = "mx.member"
	KindMXRoom       = "mx.room"
	KindMXPerson     = "mx.person"
	KindMXMembership = "mx.roster"
	KindMXInvite     = "mx.invite"
	KindMXDecline    = "mx.decline"
)

// An Event is something that happened on one side and is carried to the other. There
// is one type for each kind. Values do not change once they have been read.
type Event interface {
	// Kind returns the kind of the event.
	Kind() string
	// source returns the bytes to be stored, without the version.
	source() ([]byte, error)
}

// Kinds returns every kind of event, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(forms)) }

// A form is how one kind of event is stored.
type form struct {
	// version is the version that this release writes, and the newest that it reads.
	version int
	decode  func(stored []byte) (Event, error)
}

// forms has every kind. Version 0 was written by releases that had no versions, and
// remains readable forever. Version 1 is the same source with the version beside it.
// Kinds that stay at 0 hold a bare identifier.
var forms = map[string]form{
	KindRCMessage:    {1, ofMessage(func(m rocketchat.Message) RCWritten { return RCWritten{m} })},
	KindRCEdit:       {1, ofMessage(func(m rocketchat.Message) RCEdited { return RCEdited{m} })},
	KindRCDelete:     {1, ofMessage(func(m rocketchat.Message) RCDeleted { return RCDeleted{m} })},
	KindRCFiles:      {1, ofMessage(func(m rocketchat.Message) RCFilesLate { return RCFilesLate{m} })},
	KindRCReact:      {1, ofMessage(func(m rocketchat.Message) RCReacted { return RCReacted{m} })},
	KindRCPin:        {1, ofMessage(func(m rocketchat.Message) RCPinned { return RCPinned{m} })},
	KindRCSecret:     {1, ofMessage(func(m rocketchat.Message) RCUnreadable { return RCUnreadable{m} })},
	KindRCMember:     {1, ofMessage(newRCMember)},
	KindRCRoom:       {1, ofMessage(newRCRoom)},
	KindRCPerson:     {0, bare(func(id string) RCPerson { return RCPerson{ids.RCUser(id)} })},
	KindRCMembership: {0, bare(func(id string) RCMembership { return RCMembership{ids.RCRoom(id)} })},
	KindRCInvite:     {1, decodeJSON[RCInvite]},
	KindRCDirect:     {1, decodeJSON[RCDirect]},
	KindRCEcho:       {0, bare(func(id string) RCEcho { return RCEcho{ids.MXEvent(id)} })},

	KindMXMessage:    {1, ofMatrix(func(h MXHead, e convert.Event) MXWritten { return MXWritten{h, e} })},
	KindMXFile:       {1, ofMatrix(func(h MXHead, e convert.Event) MXFileLate { return MXFileLate{h, e} })},
	KindMXReact:      {1, ofMatrix(newMXReacted)},
	KindMXRedact:     {1, ofMatrix(newMXRedacted)},
	KindMXCall:       {1, ofMatrix(newMXCall)},
	KindMXPoll:       {1, ofMatrix(newMXPoll)},
	KindMXSecret:     {1, ofMatrix(func(h MXHead, _ convert.Event) MXUnreadable { return MXUnreadable{h} })},
	KindMXMember:     {1, ofMatrix(newMXMember)},
	KindMXRoom:       {1, ofMatrix(newMXRoom)},
	KindMXPerson:     {0, bare(func(id string) MXPerson { return MXPerson{ids.MXUser(id)} })},
	KindMXMembership: {0, bare(func(id string) MXMembership { return MXMembership{ids.MXRoom(id)} })},
	KindMXInvite:     {1, decodeJSON[MXInvited]},
	KindMXDecline:    {1, decodeJSON[MXDecline]},
}
