package relay

import (
	"context"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
)

// bridgedElsewhere reports whether another bridge connects a Matrix room with this
// Rocket.Chat: two would repeat each other's messages for ever.
func (r *Relay) bridgedElsewhere(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (bool, error) {
	found, err := r.MX.Bridges(ctx, room, reader)
	if err != nil {
		return false, ignore(err, ErrForbidden, ErrNotFound)
	}
	for _, b := range found {
		if b.Protocol == "rocketchat" && b.Site == r.Site && !r.Names.Owns(b.Bot) {
			r.Log.Warn("another bridge connects a room with this Rocket.Chat", "mx_room", room, "bridge", b.Bot, "rc_room", b.Channel)
			return true, nil
		}
	}
	return false, nil
}

// cameFromHere reports whether an event on Matrix is what another bridge made of a
// message of this Rocket.Chat.
func (r *Relay) cameFromHere(ctx context.Context, e convert.Event) (bool, error) {
	if e.Content.Source == "" {
		return false, nil
	}
	return r.Store.EventLinked(ctx, ids.RCMessage(e.Content.Source))
}
