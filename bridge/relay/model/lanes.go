package model

import (
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

const (
	// Lanes is how many portals and directions are served at once. Each waits for
	// the network most of the time.
	Lanes = 64
	// FileLanes is how many files that follow their messages are carried at once.
	FileLanes = 16
)

// RCLane and MXLane name the lanes of one portal: what happened on that side,
// waiting for the other.
func RCLane(room ids.RCRoom) string { return "rc:" + string(room) }

// MXLane is RCLane for the other direction.
func MXLane(room ids.MXRoom) string { return "mx:" + string(room) }

// RCMembershipItem is the item that says that a room has just been bridged, or has a
// past: its members join on Matrix, and others leave there. of makes its ID.
func RCMembershipItem(of string, room ids.RCRoom) queue.Item {
	item, _ := event.Item(membershipID(of), RCLane(room), event.RCMembership{Room: room}) // an identifier cannot fail
	return item
}

// MXMembershipItem is RCMembershipItem for a Matrix room, whose members join in
// Rocket.Chat.
func MXMembershipItem(of string, room ids.MXRoom) queue.Item {
	item, _ := event.Item(membershipID(of), MXLane(room), event.MXMembership{Room: room})
	return item
}

// membershipID is stored, so it stays as earlier releases wrote it.
func membershipID(of string) string { return "roster " + of }
