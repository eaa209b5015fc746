package ephemeral

import (
	"context"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Presences shows on one side who is online on the other.
type Presences struct {
	Store presenceStore
	RC    presenceRocketChat
	MX    presenceMatrix
	Names ids.Namespace
	Live  func() config.Live

	calls *calls
}

// PresenceOnMatrix handles the presence of a person on Matrix.
func (pr *Presences) PresenceOnMatrix(user ids.MXUser, is model.Presence) {
	if live := pr.Live(); !live.Enabled || !live.Presence || pr.Names.Owns(user) {
		return
	}
	pr.calls.put("presence "+string(user), func(ctx context.Context) error {
		puppet, ok, err := pr.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return pr.RC.SetPresence(ctx, puppet, is)
	})
}

// PresenceInRocketChat handles the presence of a person in Rocket.Chat.
func (pr *Presences) PresenceInRocketChat(user ids.RCUser, is model.Presence) {
	if live := pr.Live(); !live.Enabled || !live.Presence {
		return
	}
	pr.calls.put("presence "+string(user), func(ctx context.Context) error {
		g, ok, err := pr.Store.GhostByRC(ctx, user)
		if err != nil || !ok {
			return err
		}
		return pr.MX.SetPresence(ctx, g.MXUser, is)
	})
}
