package relay

import (
	"appliance/bridge/event"
	"appliance/bridge/relay/model"
)

// The model under the names that it had in this package.
type (
	WaitError        = model.WaitError
	SayError         = model.SayError
	Invitation       = model.Invitation
	Media            = model.Media
	File             = model.File
	Limits           = model.Limits
	RememberedLimits = model.RememberedLimits
	Reaction         = model.Reaction
	RCEmoji          = model.RCEmoji
	Token            = model.Token
	Ghost            = model.Ghost
	Puppet           = model.Puppet
	RCPerson         = model.RCPerson
	Caller           = model.Caller
	RCProfile        = model.RCProfile
	MXProfile        = model.MXProfile
	Presence         = model.Presence
	Portal           = model.Portal
	RCRoomInfo       = model.RCRoomInfo
	RCRoomChange     = model.RCRoomChange
	Role             = model.Role
	MXRoomSpec       = model.MXRoomSpec
	MXMember         = model.MXMember
	MXCreation       = model.MXCreation
	PublicRoom       = model.PublicRoom
	BridgeInfo       = model.BridgeInfo
)

// Constants of the model.
const (
	KindRCMessage    = event.KindRCMessage
	KindRCMember     = event.KindRCMember
	KindRCPerson     = event.KindRCPerson
	KindMXPerson     = event.KindMXPerson
	KindRCMembership = event.KindRCMembership
	KindRCEdit       = event.KindRCEdit
	KindRCDelete     = event.KindRCDelete
	KindRCFiles      = event.KindRCFiles
	KindRCRoom       = event.KindRCRoom
	KindRCInvite     = event.KindRCInvite
	KindRCDirect     = event.KindRCDirect
	KindRCReact      = event.KindRCReact
	KindRCPin        = event.KindRCPin
	KindRCSecret     = event.KindRCSecret
	KindMXMessage    = event.KindMXMessage
	KindMXFile       = event.KindMXFile
	KindMXRoom       = event.KindMXRoom
	KindMXSecret     = event.KindMXSecret
	KindMXCall       = event.KindMXCall
	KindMXPoll       = event.KindMXPoll
	KindMXReact      = event.KindMXReact
	KindMXRedact     = event.KindMXRedact
	KindMXMember     = event.KindMXMember
	KindMXInvite     = event.KindMXInvite
	KindMXDecline    = event.KindMXDecline
	KindMXMembership = event.KindMXMembership
	PuppetRole       = model.PuppetRole
	Online           = model.Online
	Away             = model.Away
	Offline          = model.Offline
	Member           = model.Member
	Moderator        = model.Moderator
	Owner            = model.Owner
	HistoryShared    = model.HistoryShared
	HistoryInvited   = model.HistoryInvited
	InvitePower      = model.InvitePower
	OwnerPower       = model.OwnerPower
	MaxHistory       = model.MaxHistory
)

// Errors and functions of the model.
var (
	ErrUnavailable = model.ErrUnavailable
	ErrForbidden   = model.ErrForbidden
	ErrNotFound    = model.ErrNotFound
	ErrRefused     = model.ErrRefused
	ErrTooLarge    = model.ErrTooLarge
	ErrSlow        = model.ErrSlow
	ErrNoAccount   = model.ErrNoAccount
	ErrTooMany     = model.ErrTooMany
	ErrOutsider    = model.ErrOutsider
	InvitationItem = model.InvitationItem
	RCLane         = model.RCLane
	MXLane         = model.MXLane
	RCDelete       = model.RCDelete
	MXFile         = model.MXFile
	RCFile         = model.RCFile
	RCPersonItem   = model.RCPersonItem
	MXPersonItem   = model.MXPersonItem
	AvatarCursor   = model.AvatarCursor
	RCCursor       = model.RCCursor
)
