package people

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// keptOutAfter is how long a room may refuse to let a ghost join before that is final. A
// server may refuse for a moment, before it knows of a change of members or of power levels.
const keptOutAfter = 10 * time.Second

// Joined makes ghosts join rooms, and remembers which ones are there. Its methods are
// safe for concurrent use.
type Joined struct {
	RC     joinedRocketChat
	MX     joinedMatrix
	known  sync.Map // known memberships: struct{} by room and ghost
	keptBy sync.Map // since when a room refuses to let a ghost join: time.Time by room and ghost
	Names  ids.Namespace
	People *People
}

// Ensure makes a ghost join a room unless it is known to be there.
func (j *Joined) Ensure(ctx context.Context, p model.Portal, ghost ids.MXUser) error {
	_, err := j.EnsureInvited(ctx, p, ghost)
	return err
}

// EnsureInvited is Ensure, and reports whether the ghost had to be invited. If so, it was
// not in the room, and its user may have been removed since.
func (j *Joined) EnsureInvited(ctx context.Context, p model.Portal, ghost ids.MXUser) (invited bool, err error) {
	if j.Has(p.MXRoom, ghost) {
		return false, nil
	}
	if invited, err = j.MX.Join(ctx, p.MXRoom, ghost, p.Reader(j.Names)); err != nil {
		return invited, fmt.Errorf("join %s: %w", ghost, j.keptOut(ctx, p, ghost, err))
	}
	j.Note(p.MXRoom, ghost)
	return invited, nil
}

// BringIn makes the ghost of a member join.
func (j *Joined) BringIn(ctx context.Context, p model.Portal, who model.RCPerson) error {
	return j.BringInto(ctx, p, who, Present{})
}

// Present is the state of a Matrix room before many ghosts join it.
type Present struct {
	Membership map[ids.MXUser]string // "join", "invite" and so on
	Closed     bool                  // nobody can join without an invitation
}

// BringInto is BringIn for a room whose state is known. A ghost that is in it does not join
// again, and one that needs an invitation does not try without: that saves a request per member.
func (j *Joined) BringInto(ctx context.Context, p model.Portal, who model.RCPerson, room Present) error {
	if mine, err := j.People.IsPuppet(ctx, who.ID); err != nil || mine || j.RC.IsBridge(who.ID) {
		return err
	}
	g, err := j.People.Ghost(ctx, who)
	if err != nil {
		return err
	}
	switch is := room.Membership[g.MXUser]; {
	case is == "join":
	case is == "ban":
		return fmt.Errorf("join %s: %w", g.MXUser, model.ErrBanned)
	case room.Closed && is != "invite" && !j.Has(p.MXRoom, g.MXUser):
		if err := j.MX.Admit(ctx, p.MXRoom, g.MXUser, p.Reader(j.Names)); err != nil {
			return fmt.Errorf("join %s: %w", g.MXUser, j.keptOut(ctx, p, g.MXUser, err))
		}
	default:
		return j.Ensure(ctx, p, g.MXUser)
	}
	j.Note(p.MXRoom, g.MXUser)
	return nil
}

// keptOut returns the error of a join, and makes it final if the ghost is banned, or if the
// room has refused for a while. It remains an ErrForbidden. A homeserver that cannot read the
// room refuses too, and is unavailable instead.
func (j *Joined) keptOut(ctx context.Context, p model.Portal, ghost ids.MXUser, err error) error {
	if !errors.Is(err, model.ErrForbidden) {
		return err
	}
	switch is, unread := model.MembershipOf(ctx, j.MX, p, j.Names, ghost); {
	case model.Ignore(unread, model.ErrForbidden, model.ErrNotFound) != nil:
		return unread
	case is == "ban":
		return fmt.Errorf("%w: %w", model.ErrBanned, err)
	}
	since, again := j.keptBy.LoadOrStore(string(p.MXRoom)+" "+string(ghost), time.Now())
	if t, _ := since.(time.Time); again && time.Since(t) >= keptOutAfter {
		return fmt.Errorf("%w: %w", model.ErrNotAdmitted, err)
	}
	return err
}

// Has reports whether a ghost is known to be in a room.
func (j *Joined) Has(room ids.MXRoom, ghost ids.MXUser) bool {
	_, ok := j.known.Load(string(room) + " " + string(ghost))
	return ok
}

// Note records that a ghost is in a room.
func (j *Joined) Note(room ids.MXRoom, ghost ids.MXUser) {
	j.known.Store(string(room)+" "+string(ghost), struct{}{})
	j.keptBy.Delete(string(room) + " " + string(ghost))
}

// Forget records that a ghost may no longer be in a room.
func (j *Joined) Forget(room ids.MXRoom, ghost ids.MXUser) {
	j.known.Delete(string(room) + " " + string(ghost))
}
