package relay

import (
	"context"

	"appliance/bridge/queue"
)

// unreadable is what is said of a Rocket.Chat room whose messages are encrypted.
const unreadable = "What is written encrypted in this room of Rocket.Chat cannot be read by the bridge and does not arrive on Matrix. " +
	"Please switch the encryption of the room off, or go on in another room."

// secretToMatrix answers a message that is encrypted in Rocket.Chat, once for each room.
func (r *Relay) secretToMatrix(ctx context.Context, item queue.Item) error {
	m, p, ok, err := r.ofRocketChat(ctx, item)
	if err != nil || !ok {
		return err
	}
	mark := "secret " + string(p.RCRoom)
	known, err := r.Store.Known(ctx, []string{mark})
	if err != nil || len(known) > 0 {
		return err
	}
	r.tellOnMatrix(ctx, p, mark, unreadable)
	if err := r.sayInRocketChat(ctx, p, unreadable); err != nil {
		// A room that takes nothing that is not encrypted.
		if err := r.RC.Tell(ctx, person(m.User), unreadable); err != nil {
			return outcome(item, err, "")
		}
	}
	return r.Store.MarkKnown(ctx, mark)
}
