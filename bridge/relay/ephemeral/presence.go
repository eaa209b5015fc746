package ephemeral

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// PresenceOnMatrix handles the presence of a person on Matrix.
func (ev *Events) PresenceOnMatrix(user ids.MXUser, is model.Presence) {
	if live := ev.Live(); !live.Enabled || !live.Presence || ev.Names.Owns(user) {
		return
	}
	ev.pending.put("presence "+string(user), func(ctx context.Context) error {
		puppet, ok, err := ev.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return ev.RC.SetPresence(ctx, puppet, is)
	})
}

// PresenceInRocketChat handles the presence of a person in Rocket.Chat.
func (ev *Events) PresenceInRocketChat(user ids.RCUser, is model.Presence) {
	if live := ev.Live(); !live.Enabled || !live.Presence {
		return
	}
	ev.pending.put("presence "+string(user), func(ctx context.Context) error {
		g, ok, err := ev.Store.GhostByRC(ctx, user)
		if err != nil || !ok {
			return err
		}
		return ev.MX.SetPresence(ctx, g.MXUser, is)
	})
}
