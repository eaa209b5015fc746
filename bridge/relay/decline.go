package relay

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// Reasons why an invitation is declined, for whoever invited.
const (
	notAllowed     = "The administrator of this Rocket.Chat does not allow conversations with you."
	mayNotInvite   = "The administrator of this Rocket.Chat does not let you invite people to this room."
	tooManyInvites = "Too many invitations came today; try again tomorrow."
)

// declineAfter is how long an invitation stands before it is declined. The invited
// server knows it before the inviting one has stored it, and Dendrite (0.15) forgets an
// invitation whose rejection the other server does not accept.
const declineAfter = 2 * time.Second

// A refusal is the payload of KindMXDecline.
type refusal struct {
	Room   ids.MXRoom `json:"room"`
	Ghost  ids.MXUser `json:"ghost"`
	Reason string     `json:"reason"`
}

// decline has an invitation declined with a word of why.
func (r *Relay) decline(ctx context.Context, item queue.Item, inv Invitation, why string) error {
	payload, err := json.Marshal(refusal{inv.Room, inv.Ghost, why})
	if err != nil {
		return err
	}
	r.Log.Info("an invitation is declined", "inviter_server", inv.Inviter.Homeserver(), "mx_room", inv.Room, "reason", why)
	return r.Accept(ctx, []queue.Item{{ID: item.ID + " declined", Lane: MXLane(inv.Room), Kind: KindMXDecline, Payload: payload}}, nil)
}

// declineNow declines an invitation on Matrix.
func (r *Relay) declineNow(ctx context.Context, item queue.Item) error {
	var d refusal
	if err := json.Unmarshal(item.Payload, &d); err != nil {
		return queue.Permanent("it could not be read", err)
	}
	if item.Attempts == 0 {
		return queue.Later(declineAfter, errors.New("the inviting server may not have stored the invitation"))
	}
	return outcome(item, ignore(r.MX.Refuse(ctx, d.Room, d.Ghost, d.Reason), ErrForbidden, ErrNotFound), "")
}
