package relay

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
)

// What the sides and the slash commands call besides Accept. The sides are created before
// the relay knows them, so these methods look up the parts when they are called.

// TypingOnMatrix reports who is typing in a Matrix room.
func (r *Relay) TypingOnMatrix(ctx context.Context, room ids.MXRoom, users []ids.MXUser) {
	r.init()
	r.parts.ephemeral.TypingOnMatrix(ctx, room, users)
}

// ReadOnMatrix reports that a person has read up to the newest event of a Matrix room.
func (r *Relay) ReadOnMatrix(room ids.MXRoom, user ids.MXUser) {
	r.init()
	r.parts.ephemeral.ReadOnMatrix(room, user)
}

// PresenceOnMatrix reports the presence of a person on Matrix.
func (r *Relay) PresenceOnMatrix(user ids.MXUser, is model.Presence) {
	r.init()
	r.parts.ephemeral.PresenceOnMatrix(user, is)
}

// TypingInRocketChat reports that a person is typing or has stopped. shown is the
// username, or the display name where Rocket.Chat shows those.
func (r *Relay) TypingInRocketChat(room ids.RCRoom, shown string, on bool) {
	r.init()
	r.parts.ephemeral.TypingInRocketChat(room, shown, on)
}

// PresenceInRocketChat reports the presence of a person in Rocket.Chat.
func (r *Relay) PresenceInRocketChat(user ids.RCUser, is model.Presence) {
	r.init()
	r.parts.ephemeral.PresenceInRocketChat(user, is)
}

// PersonChanged reports that a Rocket.Chat user has a new name or picture, or is gone.
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

// Alias reports whether one of our aliases points to a room, and connects the channel
// that it names if the operator has chosen it; see portal.PublicChannels.
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

// Commands returns the implementation of the slash commands.
func (r *Relay) Commands() *portal.Commands {
	r.init()
	return r.parts.commands
}

// Reconcile compares the members of a room on both sides now, and returns the number of
// differences that it corrected.
func (r *Relay) Reconcile(ctx context.Context, p model.Portal) (int, error) {
	r.init()
	return r.parts.reconciler.Now(ctx, p)
}
