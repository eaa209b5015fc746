package model

import (
	"cmp"
	"encoding/json"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// An Invitation is a ghost's invitation to a Matrix room.
type Invitation struct {
	Room    ids.MXRoom `json:"room_id"`
	Ghost   ids.MXUser `json:"ghost"`
	Inviter ids.MXUser `json:"inviter"`
	Direct  bool       `json:"is_direct"`
	Name    string     `json:"name,omitempty"` // of the room, as far as the invitation tells
	Insists bool       `json:"-"`              // a room that it seems to replace is not waited for
	Via     string     `json:"-"`              // a server that is in the room, where there is no inviter
}

// Server returns a server that is in the room.
func (inv Invitation) Server() string { return cmp.Or(inv.Via, inv.Inviter.Homeserver()) }

// InvitationItem returns the item for a ghost's invitation. id is the ID of the
// invitation's event.
func InvitationItem(id string, inv Invitation) queue.Item {
	payload, _ := json.Marshal(inv) // strings and a bool: cannot fail
	return queue.Item{ID: id, Lane: MXLane(inv.Room), Kind: KindMXInvite, Payload: payload}
}

// ParseInvitation reads the payload of an item of KindMXInvite.
func ParseInvitation(payload []byte) (Invitation, error) {
	var inv Invitation
	err := json.Unmarshal(payload, &inv)
	return inv, err
}

// NewDirect is the payload of KindRCDirect.
type NewDirect struct {
	Room   ids.RCRoom `json:"room"`
	Author ids.RCUser `json:"author,omitempty"` // who wrote, where that is known
	Since  time.Time  `json:"since"`            // what was said from then on crosses
}
