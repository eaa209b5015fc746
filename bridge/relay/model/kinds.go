package model

import "appliance/bridge/ids"

// Kinds of items. The payload of each is the event as its side received it. The values
// are stored, so they stay as earlier releases wrote them.
const (
	KindRCMessage    = "rc.message" // a message in a bridged room: rocketchat.Message
	KindRCMember     = "rc.member"  // a system message about membership: rocketchat.Message
	KindRCPerson     = "rc.person"  // something about a Rocket.Chat user may have changed: the user's ID
	KindMXPerson     = "mx.person"  // something about a Matrix user may have changed: the user's ID
	KindRCMembership = "rc.roster"  // a room has just been bridged: its members join on Matrix; no payload
	KindRCEdit       = "rc.edit"    // a message was edited: rocketchat.Message as it is now
	KindRCDelete     = "rc.delete"  // a message was deleted: rocketchat.Message of which only IDs are known
	KindRCFiles      = "rc.files"   // files of a message that follow later: rocketchat.Message with these alone
	KindRCRoom       = "rc.room"    // a system message about the room itself: rocketchat.Message
	KindRCInvite     = "rc.invite"  // an invitation that waits until the past of a room is carried: invitee
	KindRCDirect     = "rc.direct"  // a message to a puppet, it seems, in a direct room that is no portal: NewDirect
	KindRCReact      = "rc.react"   // a message's reactions have changed: rocketchat.Message as it is now
	KindRCPin        = "rc.pin"     // a message was pinned or taken off: rocketchat.Message as it is now
	KindRCSecret     = "rc.secret"  // a message that is encrypted in Rocket.Chat: rocketchat.Message
	KindMXMessage    = "mx.message" // m.room.message
	KindMXFile       = "mx.file"    // a file that follows later: m.room.message
	KindMXRoom       = "mx.room"    // a state event about the room itself
	KindMXSecret     = "mx.secret"  // m.room.encrypted, which cannot be read
	KindMXCall       = "mx.call"    // a call begins, or a person joins it
	KindMXPoll       = "mx.poll"    // the beginning or the end of a poll
	KindMXReact      = "mx.react"   // m.reaction
	KindMXRedact     = "mx.redact"  // m.room.redaction
	KindMXMember     = "mx.member"  // m.room.member of a person who is not ours
	KindMXInvite     = "mx.invite"  // an invitation of a ghost: Invitation
	KindMXDecline    = "mx.decline" // an invitation that is to be declined: refusal
	KindMXMembership = "mx.roster"  // a room has just been bridged: its members join in Rocket.Chat; no payload
)

// RCLane and MXLane name the lanes of one portal: what happened on that side,
// waiting for the other.
func RCLane(room ids.RCRoom) string { return "rc:" + string(room) }

// MXLane is RCLane for the other direction.
func MXLane(room ids.MXRoom) string { return "mx:" + string(room) }

// MembershipID is the ID of an item of KindRCMembership or KindMXMembership. It is
// stored, so it stays as earlier releases wrote it.
func MembershipID(of string) string { return "roster " + of }
