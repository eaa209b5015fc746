package model

import (
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
}

// An RCPerson is a Rocket.Chat user as an event shows them.
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

// An RCProfile is what Rocket.Chat shows of a person.
type RCProfile struct {
	RCPerson
	Active bool   // false once deactivated
	Avatar string // changes with the picture; "" when there is none
	Roles  []string
}

// An MXProfile is what Matrix shows of a person.
type MXProfile struct {
	Name   string
	Avatar string // "mxc://..."; "" when there is none
}

// PuppetRole is the role that the account of every puppet has. Only administrators
// of Rocket.Chat can give it, so an account without it was not created by the bridge.
const PuppetRole = "bot"

// RCPersonItem is the item that says that something about a Rocket.Chat user may
// have changed. Each reason makes another one.
func RCPersonItem(user ids.RCUser, reason string) queue.Item {
	item, _ := event.Item("person "+string(user)+" "+reason, "rc:people "+string(user), event.RCPerson{User: user}) // an identifier cannot fail
	return item
}

// MXPersonItem is RCPersonItem for a Matrix user.
func MXPersonItem(user ids.MXUser, reason string) queue.Item {
	item, _ := event.Item("person "+string(user)+" "+reason, "mx:people "+string(user), event.MXPerson{User: user})
	return item
}

// AvatarCursor names the cursor that holds which picture of a person in Rocket.Chat
// was copied.
func AvatarCursor(user ids.RCUser) string { return "avatar " + string(user) }

// Presence says whether a person is there.
type Presence string

// The kinds of presence that both networks have.
const (
	Online  Presence = "online"
	Away    Presence = "away"
	Offline Presence = "offline"
)
