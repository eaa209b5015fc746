package relay

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
)

// What the sides and the slash commands call besides Accept. The sides are created
// before the relay knows them, so these methods look the parts up when they are called.

// TypingOnMatrix says who types in a Matrix room now.
func (r *Relay) TypingOnMatrix(ctx context.Context, room ids.MXRoom, users []ids.MXUser) {
	r.init()
	r.parts.ephemeral.TypingOnMatrix(ctx, room, users)
}

// ReadOnMatrix says that a person has read up to the newest event of a Matrix room.
func (r *Relay) ReadOnMatrix(room ids.MXRoom, user ids.MXUser) {
	r.init()
	r.parts.ephemeral.ReadOnMatrix(room, user)
}

// PresenceOnMatrix says whether a person on Matrix is there.
func (r *Relay) PresenceOnMatrix(user ids.MXUser, is model.Presence) {
	r.init()
	r.parts.ephemeral.PresenceOnMatrix(user, is)
}

// TypingInRocketChat says that a person types, or no longer. shown is the username, or
// the display name where Rocket.Chat shows those.
func (r *Relay) TypingInRocketChat(room ids.RCRoom, shown string, on bool) {
	r.init()
	r.parts.ephemeral.TypingInRocketChat(room, shown, on)
}

// PresenceInRocketChat says whether a person in Rocket.Chat is there.
func (r *Relay) PresenceInRocketChat(user ids.RCUser, is model.Presence) {
	r.init()
	r.parts.ephemeral.PresenceInRocketChat(user, is)
}

// PersonChanged says that a Rocket.Chat user has another name or picture, or is gone.
func (r *Relay) PersonChanged(ctx context.Context, user ids.RCUser) error {
	r.init()
	return r.parts.people.Changed(ctx, user)
}

// Person returns the Rocket.Chat user that a Matrix address of ours stands for, and
// creates its ghost; see people.People.
func (r *Relay) Person(ctx context.Context, mx ids.MXUser) (who model.RCPerson, ok bool, err error) {
	r.init()
	return r.parts.people.Person(ctx, mx)
}

// Alias reports whether an alias of ours leads to a room, and connects the channel that
// it names where the operator has chosen it; see portal.PublicChannels.
func (r *Relay) Alias(ctx context.Context, alias string) (bool, error) {
	r.init()
	return r.parts.public.Alias(ctx, alias)
}

// DoubtfulPuppets returns the Matrix users whose puppet is an account that the bridge
// may not have created; see people.Audit.
func (r *Relay) DoubtfulPuppets() []ids.MXUser {
	r.init()
	return r.parts.audit.Doubtful()
}

// Commands returns what slash commands call.
func (r *Relay) Commands() *portal.Commands {
	r.init()
	return r.parts.commands
}

// Reconcile compares who is in a room on both sides now, and returns how many differences
// it has corrected.
func (r *Relay) Reconcile(ctx context.Context, p model.Portal) (int, error) {
	r.init()
	return r.parts.reconciler.Now(ctx, p)
}
