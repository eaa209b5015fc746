package model

import (
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

const (
	// Lanes is how many portals and directions are served at once. Each spends most of
	// its time waiting for the network.
	Lanes = 64
	// FileLanes is how many files that follow their messages are transferred at once.
	FileLanes = 16
)

// RCLane and MXLane name the lanes of one portal, which hold what happened on one side
// until it is delivered to the other.
func RCLane(room ids.RCRoom) string { return "rc:" + string(room) }

// MXLane is RCLane for the other direction.
func MXLane(room ids.MXRoom) string { return "mx:" + string(room) }

// RCMembershipItem returns the item for a room that was just bridged or has a backfill:
// its members join on Matrix, and others leave there. Its ID is derived from of.
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
