package relay

import "appliance/bridge/relay/model"

// The model under the names that it had in this package.
type (
	WaitError        = model.WaitError
	SayError         = model.SayError
	Invitation       = model.Invitation
	NewDirect        = model.NewDirect
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
	KindRCMessage    = model.KindRCMessage
	KindRCMember     = model.KindRCMember
	KindRCPerson     = model.KindRCPerson
	KindMXPerson     = model.KindMXPerson
	KindRCMembership = model.KindRCMembership
	KindRCEdit       = model.KindRCEdit
	KindRCDelete     = model.KindRCDelete
	KindRCFiles      = model.KindRCFiles
	KindRCRoom       = model.KindRCRoom
	KindRCInvite     = model.KindRCInvite
	KindRCDirect     = model.KindRCDirect
	KindRCReact      = model.KindRCReact
	KindRCPin        = model.KindRCPin
	KindRCSecret     = model.KindRCSecret
	KindMXMessage    = model.KindMXMessage
	KindMXFile       = model.KindMXFile
	KindMXRoom       = model.KindMXRoom
	KindMXSecret     = model.KindMXSecret
	KindMXCall       = model.KindMXCall
	KindMXPoll       = model.KindMXPoll
	KindMXReact      = model.KindMXReact
	KindMXRedact     = model.KindMXRedact
	KindMXMember     = model.KindMXMember
	KindMXInvite     = model.KindMXInvite
	KindMXDecline    = model.KindMXDecline
	KindMXMembership = model.KindMXMembership
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
	ErrUnavailable  = model.ErrUnavailable
	ErrForbidden    = model.ErrForbidden
	ErrNotFound     = model.ErrNotFound
	ErrRefused      = model.ErrRefused
	ErrTooLarge     = model.ErrTooLarge
	ErrSlow         = model.ErrSlow
	ErrNoAccount    = model.ErrNoAccount
	ErrTooMany      = model.ErrTooMany
	ErrOutsider     = model.ErrOutsider
	InvitationItem  = model.InvitationItem
	ParseInvitation = model.ParseInvitation
	RCLane          = model.RCLane
	MXLane          = model.MXLane
	RCDelete        = model.RCDelete
	MXFile          = model.MXFile
	RCFile          = model.RCFile
	RCPersonItem    = model.RCPersonItem
	MXPersonItem    = model.MXPersonItem
	AvatarCursor    = model.AvatarCursor
	RCCursor        = model.RCCursor
)
