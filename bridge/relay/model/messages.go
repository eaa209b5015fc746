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

// Seen is what the store knows about Rocket.Chat messages that are being read.
type Seen struct {
	Items   map[string]bool        // items that were ever accepted, by ID
	Cursors map[string]string      // by name
	Reacted map[ids.RCMessage]bool // messages with reactions that exist on both sides
}

// An RCEmoji is a custom emoji of Rocket.Chat.
type RCEmoji struct {
	Name    string // without colons
	Picture string // changes with the picture
}

// RCWrite is the ID of the item for a message's first appearance.
func RCWrite(message ids.RCMessage) string { return "rc:" + string(message) }

// RCDelete is the ID of the item that reports the deletion of a message. There is one per
// message, however often the deletion is reported.
func RCDelete(message ids.RCMessage) string { return "rc:" + string(message) + ":delete" }

// MXFile names a Matrix file in the store.
func MXFile(event ids.MXEvent) string { return "mx:" + string(event) }

// RCFile names a Rocket.Chat upload in the store.
func RCFile(file string) string { return "rc:" + file }
