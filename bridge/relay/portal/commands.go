package portal

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/roomstate"
)

var errNotBridged = &model.SayError{Text: "this room is not connected with Matrix; to connect it: /bridge invite @name:example.org"}

// manyWaiting is how many items in a lane indicate a backfill under way.
const manyWaiting = 3

// Commands implements the slash commands.
type Commands struct {
	Store     commandStore
	RC        commandRocketChat
	MX        commandMatrix
	Names     ids.Namespace
	Admission *people.Admission
	Locks     *model.Locks
	Portals   *Portals
	People    *people.People
	Joined    *people.Joined
	Directs   *Directs
	Doubles   *people.Doubles
	Backfill  *Backfill
	Live      func() config.Live
	Log       *slog.Logger
	State     *roomstate.State
	Arrivals  *Arrivals
}

// Invite invites a Matrix user to the caller's room, on the caller's behalf, and opens a
// portal for the room if it has none. Errors that the caller can act on are a *SayError.
func (cmd *Commands) Invite(ctx context.Context, caller model.Caller, target ids.MXUser) error {
	if err := cmd.Admission.MayTalk(target); err != nil {
		return err
	}
	var p model.Portal
	err := cmd.Locks.Do("room "+string(caller.Room), func() error {
		var err error
		p, err = cmd.Portals.Open(ctx, caller.Room, &caller.RCPerson, nil)
		return err
	})
	if err != nil {
		return err
	}
	g, err := cmd.People.Ghost(ctx, caller.RCPerson)
	if err != nil {
		return err
	}
	switch err := cmd.Joined.Ensure(ctx, p, g.MXUser); {
	case errors.Is(err, model.ErrNotAdmitted):
		return model.Say("the room on Matrix does not let you in")
	case err != nil:
		return err
	}
	// While a backfill of the room is under way, the invitation waits behind it: a server
	// that joins in the middle does not see all of it.
	waiting, err := cmd.Store.Waiting(ctx, model.RCLane(p.RCRoom))
	if err != nil {
		return err
	}
	if waiting >= manyWaiting {
		return cmd.Backfill.inviteLater(ctx, caller, p, target)
	}
	return cmd.Portals.Invite(ctx, p, g.MXUser, target)
}

// Direct opens a direct conversation of the caller with a Matrix user.
func (cmd *Commands) Direct(ctx context.Context, caller model.RCPerson, target ids.MXUser) error {
	return cmd.Directs.Open(ctx, caller, target)
}

// History bridges the caller's room along with its history; see Backfill.
func (cmd *Commands) History(ctx context.Context, caller model.Caller, last int, since time.Time) (int, error) {
	return cmd.Backfill.Open(ctx, caller, last, since)
}

// Unbridge disconnects a room from Matrix: the ghosts leave there, the people from Matrix
// leave here, and messages stay on both sides.
func (cmd *Commands) Unbridge(ctx context.Context, caller model.Caller) error {
	p, err := cmd.portalOf(ctx, caller.Room)
	if err != nil {
		return err
	}
	return cmd.Portals.TearDown(ctx, p, caller.Display()+" has ended the connection of this room with Rocket.Chat.")
}

// KickOnMatrix removes a person on Matrix from the caller's room.
func (cmd *Commands) KickOnMatrix(ctx context.Context, caller model.Caller, target ids.MXUser) error {
	p, err := cmd.portalOf(ctx, caller.Room)
	if err != nil {
		return err
	}
	if p.IsDirect() {
		return model.Say("nobody can be removed from a direct message")
	}
	members, err := cmd.MX.Members(ctx, p.MXRoom, p.Reader(cmd.Names))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(m model.MXMember) bool {
		return m.User == target && (m.Membership == "join" || m.Membership == "invite")
	}) {
		return model.Say("%s is not in this room", target)
	}
	err = cmd.MX.Kick(ctx, p.MXRoom, p.Reader(cmd.Names), target)
	if errors.Is(err, model.ErrForbidden) {
		return model.Say("the bridge lacks the power level to remove %s from the Matrix room", target)
	}
	if err != nil {
		return err
	}
	// The bridge's own actions are not echoed.
	puppet, ok, err := cmd.Store.PuppetByMX(ctx, target)
	if err != nil || !ok {
		return err
	}
	return model.Ignore(cmd.RC.Remove(ctx, p, puppet.RCUser), model.ErrNotFound)
}

// Bridged reports whether a room is connected with Matrix.
func (cmd *Commands) Bridged(ctx context.Context, room ids.RCRoom) (bool, error) {
	_, ok, err := cmd.Store.PortalByRC(ctx, room)
	return ok, err
}

// portalOf returns the portal of a room in which a command was typed.
func (cmd *Commands) portalOf(ctx context.Context, room ids.RCRoom) (model.Portal, error) {
	p, ok, err := cmd.Store.PortalByRC(ctx, room)
	if err == nil && !ok {
		err = errNotBridged
	}
	return p, err
}
