package model

import (
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

// A Token lets the bridge act as a puppet.
type Token = secret.String

// A Ghost is a Matrix user that stands for a Rocket.Chat user.
type Ghost struct {
	RCUser   ids.RCUser
	MXUser   ids.MXUser
	Username string // as last seen
	Name     string // the display name last set on Matrix
}

// A Puppet is a Rocket.Chat user that stands for a Matrix user.
type Puppet struct {
	MXUser   ids.MXUser
	RCUser   ids.RCUser
	Username string
	Name     string
	Token    Token
	// Own means that the account is the person's own: the bridge writes with it, but did
	// not create it and must not change, deactivate or remove it. See Double.
	Own bool
}

// A Double is a Rocket.Chat account that a Matrix user has besides the puppet. With the
// consent of both sides, the bridge uses it to write what the Matrix user writes.
type Double struct {
	MXUser   ids.MXUser
	RCUser   ids.RCUser
	Username string // as last seen
	Token    Token
	Since    time.Time
}

// Puppet returns the double in the form of a puppet, to write in Rocket.Chat for the Matrix user.
func (d Double) Puppet() Puppet {
	return Puppet{MXUser: d.MXUser, RCUser: d.RCUser, Username: d.Username, Name: d.Username, Token: d.Token, Own: true}
}

// A Claim is a request by the owner of an account that a Matrix user may write with it.
// The Matrix user confirms it with a code, of which only the digest is stored.
type Claim struct {
	RCUser   ids.RCUser
	Username string
	MXUser   ids.MXUser
	Digest   string
	Expires  time.Time
}

// An RCPerson is a Rocket.Chat user as shown in an event.
type RCPerson struct {
	ID       ids.RCUser
	Username string
	Name     string
}

// Display returns the name people see.
func (p RCPerson) Display() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Username
}

// PersonOf returns the user that an event of Rocket.Chat refers to.
func PersonOf(u rocketchat.UserRef) RCPerson {
	return RCPerson{ID: ids.RCUser(u.ID), Username: u.Username, Name: u.Name}
}

// A Caller is a person who typed a command.
type Caller struct {
	RCPerson
	Room ids.RCRoom
}

// An RCProfile is a person's profile in Rocket.Chat.
type RCProfile struct {
	RCPerson
	Active bool   // false once deactivated
	Avatar string // changes with the picture; "" when there is none
	Roles  []string
}

// An MXProfile is a person's profile on Matrix.
type MXProfile struct {
	Name   string
	Avatar string // "mxc://..."; "" when there is none
}

// PuppetRole is the role that every puppet's account has. Only administrators of
// Rocket.Chat can assign it, so an account without it was not created by the bridge.
const PuppetRole = "bot"

// RCPersonItem returns the item that reports a possible change to a Rocket.Chat user.
// Each reason makes a different item.
func RCPersonItem(user ids.RCUser, reason string) queue.Item {
	item, _ := event.Item("person "+string(user)+" "+reason, "rc:people "+string(user), event.RCPerson{User: user}) // an identifier cannot fail
	return item
}

// MXPersonItem is RCPersonItem for a Matrix user.
func MXPersonItem(user ids.MXUser, reason string) queue.Item {
	item, _ := event.Item("person "+string(user)+" "+reason, "mx:people "+string(user), event.MXPerson{User: user})
	return item
}

// AvatarCursor names the cursor that records which picture of a
// Rocket.Chat user was copied.
func AvatarCursor(user ids.RCUser) string { return "avatar " + string(user) }

// Presence says whether a person is online, away or offline.
type Presence string

// The kinds of presence that both networks have.
const (
	Online  Presence = "online"
	Away    Presence = "away"
	Offline Presence = "offline"
)
