package relay

import (
	"encoding/json"

	"appliance/bridge/queue"
)

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
