package model

import (
	"cmp"

	"appliance/bridge/event"
	"appliance/bridge/queue"
)

// An Invitation is a ghost's invitation to a Matrix room.
type Invitation struct {
	event.MXInvited
	Insists bool   // do not wait for the room that it seems to replace
	Via     string // a server in the room, if there is no inviter
}

// Server returns a server that is in the room.
func (inv Invitation) Server() string { return cmp.Or(inv.Via, inv.Inviter.Homeserver()) }

// InvitationItem returns the item for a ghost's invitation. id is the ID of the
// invitation's event.
func InvitationItem(id string, inv event.MXInvited) queue.Item {
	item, _ := event.Item(id, MXLane(inv.Room), inv) // strings and a bool: cannot fail
	return item
}
