package model

import "appliance/bridge/ids"

// A Reaction is one person's reaction to a message, on both sides.
type Reaction struct {
	Message  ids.RCMessage
	Emoji    string // Rocket.Chat's key: ":smile:"
	User     ids.RCUser
	Event    ids.MXEvent
	MXRoom   ids.MXRoom
	MXSender ids.MXUser
}

// Seen is what is known of messages of Rocket.Chat that are read.
type Seen struct {
	Items   map[string]bool        // those that were ever accepted, by ID
	Cursors map[string]string      // by name
	Reacted map[ids.RCMessage]bool // those with reactions that both sides have
}

// An RCEmoji is an emoji that is Rocket.Chat's own.
type RCEmoji struct {
	Name    string // without colons
	Picture string // changes with the picture
}

// RCWrite is the ID of the item for a message's first appearance.
func RCWrite(message ids.RCMessage) string { return "rc:" + string(message) }

// RCDelete is the ID of the item that says that a message was deleted. There is
// one for each message, however often it is said.
func RCDelete(message ids.RCMessage) string { return "rc:" + string(message) + ":delete" }

// MXFile names a file of Matrix in the store.
func MXFile(event ids.MXEvent) string { return "mx:" + string(event) }

// RCFile names an upload of Rocket.Chat in the store.
func RCFile(file string) string { return "rc:" + file }
