package people

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

var (
	errDenied = errors.New("the administrator does not allow it")
	errFlood  = errors.New("too much at once")
)

const (
	// tellDenied and tellFlood are the shortest intervals between two notices to a person.
	tellDenied = 24 * time.Hour
	tellFlood  = 10 * time.Minute
	maxTold    = 10000
)

// Admission decides what people may do, by the operator's lists, the limits on what comes
// from Matrix, and the permissions inside Rocket.Chat. It remembers who was told of a
// refusal. Its methods are safe for concurrent use.
type Admission struct {
	RC      admissionRocketChat
	budgets budgets
	mu      sync.Mutex
	told    map[string]time.Time
	Names   ids.Namespace
	Live    func() config.Live
}

// MayTalk returns an error unless the operator lets people talk to a Matrix user.
func (a *Admission) MayTalk(target ids.MXUser) error {
	switch {
	case a.Names.Owns(target):
		return model.Say("%s is a user of this Rocket.Chat; invite them with /invite", target)
	case !a.Live().Users.Allowed(string(target)):
		return model.Say("the administrator does not allow conversations with %s", target)
	case !a.Live().Servers.Allowed(target.Homeserver()):
		return model.Say("the administrator does not allow conversations with %s", target.Homeserver())
	}
	return nil
}

// Allows reports whether the operator lets people talk with a Matrix user.
func (a *Admission) Allows(user ids.MXUser) bool {
	live := a.Live()
	return live.Servers.Allowed(user.Homeserver()) && live.Users.Allowed(string(user))
}

// Holds reports whether a user has a role from a list, in the workspace or, if p is a
// portal, in its room.
func (a *Admission) Holds(ctx context.Context, list []string, who ids.RCUser, p model.Portal) (bool, error) {
	if config.Holds(list) {
		return true, nil
	}
	is, ok, err := a.RC.Profile(ctx, who)
	if err != nil || !ok {
		return false, err
	}
	if config.Holds(list, is.Roles...) || p.RCRoom == "" || p.IsDirect() {
		return config.Holds(list, is.Roles...), nil
	}
	roles, err := a.RC.Roles(ctx, p)
	return err == nil && config.Holds(list, model.RoleNames[roles[who]]), err
}

// Admit checks whether what a person on Matrix does may be relayed. The error makes the
// item a dead letter, with a sentence for its sender.
func (a *Admission) Admit(item queue.Item, sender ids.MXUser) error {
	if !a.Allows(sender) {
		return queue.Permanent("the administrator of the Rocket.Chat does not allow messages from "+string(sender), errDenied)
	}
	flood := a.Live().Flood
	if item.Attempts > 0 || a.budgets.spend(time.Minute, budget{"message " + string(sender), flood.PerPerson}, budget{"message " + sender.Homeserver(), flood.PerServer}) {
		return nil
	}
	return queue.Permanent("too many messages arrived within a minute; please send fewer", errFlood)
}

// AdmitInvitation reports whether a person on Matrix may send another invitation today.
// An invitation that was already admitted is not counted again.
func (a *Admission) AdmitInvitation(item queue.Item, inv model.Invitation) bool {
	flood := a.Live().Flood
	return item.Attempts > 0 || a.budgets.spend(day,
		budget{"invitation " + string(inv.Inviter), flood.InvitationsPerPerson}, budget{"invitation " + inv.Inviter.Homeserver(), flood.InvitationsPerServer})
}

// admitAccount checks whether another person from a server may get an account today.
func (a *Admission) admitAccount(user ids.MXUser) error {
	if a.budgets.spend(day, budget{"account " + user.Homeserver(), a.Live().Flood.AccountsPerServer}) {
		return nil
	}
	return fmt.Errorf("%w: accounts for people of %s", model.ErrTooMany, user.Homeserver())
}

// ToldRecently reports whether a person was recently told of a refusal. If not, it
// records that the person is being told now.
func (a *Admission) ToldRecently(sender, room string, cause error) bool {
	again := tellFlood
	switch {
	case errors.Is(cause, errDenied):
		again = tellDenied
	case !errors.Is(cause, errFlood) && !errors.Is(cause, model.ErrNotAdmitted):
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told == nil || len(a.told) > maxTold {
		a.told = map[string]time.Time{}
	}
	key := sender + " " + room + " " + again.String()
	if time.Since(a.told[key]) < again {
		return true
	}
	a.told[key] = time.Now()
	return false
}
