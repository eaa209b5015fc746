package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

var (
	errDenied = errors.New("the administrator does not allow it")
	errFlood  = errors.New("too much at once")
)

const (
	// tellDenied and tellFlood are how often somebody is told.
	tellDenied = 24 * time.Hour
	tellFlood  = 10 * time.Minute
	maxTold    = 10000
)

// gate limits what comes from Matrix, and remembers who was told what.
type gate struct {
	budgets budgets
	mu      sync.Mutex
	told    map[string]time.Time
}

// allowed reports whether the operator lets people talk with a Matrix user.
func (r *Relay) allowed(user ids.MXUser) bool {
	live := r.Live()
	return live.Servers.Allowed(user.Homeserver()) && live.Users.Allowed(string(user))
}

// admit says whether what somebody on Matrix does may cross. The error buries the
// item with a sentence for its sender.
func (r *Relay) admit(item queue.Item, sender ids.MXUser) error {
	if !r.allowed(sender) {
		return queue.Permanent("the administrator of the Rocket.Chat does not allow messages of "+string(sender), errDenied)
	}
	flood := r.Live().Flood
	if item.Attempts > 0 || r.gate.budgets.spend(time.Minute, budget{"message " + string(sender), flood.PerPerson}, budget{"message " + sender.Homeserver(), flood.PerServer}) {
		return nil
	}
	return queue.Permanent("too many messages came within a minute; please send less", errFlood)
}

// admitInvitation says whether a person on Matrix may invite once more today. An
// invitation that was admitted is not counted again.
func (r *Relay) admitInvitation(item queue.Item, inv Invitation) bool {
	flood := r.Live().Flood
	return item.Attempts > 0 || r.gate.budgets.spend(day,
		budget{"invitation " + string(inv.Inviter), flood.InvitationsPerPerson}, budget{"invitation " + inv.Inviter.Homeserver(), flood.InvitationsPerServer})
}

// admitAccount says whether one more person of a server may get an account today.
func (r *Relay) admitAccount(user ids.MXUser) error {
	if r.gate.budgets.spend(day, budget{"account " + user.Homeserver(), r.Live().Flood.AccountsPerServer}) {
		return nil
	}
	return fmt.Errorf("%w: accounts for people of %s", ErrTooMany, user.Homeserver())
}

// toldAlready reports whether somebody was told of a refusal not long ago, and
// notes that it is told now.
func (r *Relay) toldAlready(sender, room string, cause error) bool {
	again := tellFlood
	switch {
	case errors.Is(cause, errDenied):
		again = tellDenied
	case !errors.Is(cause, errFlood):
		return false
	}
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	if r.gate.told == nil || len(r.gate.told) > maxTold {
		r.gate.told = map[string]time.Time{}
	}
	key := sender + " " + room + " " + again.String()
	if time.Since(r.gate.told[key]) < again {
		return true
	}
	r.gate.told[key] = time.Now()
	return false
}

// roleNames are Rocket.Chat's names of the roles in a room.
var roleNames = map[Role]string{Owner: "owner", Moderator: "moderator"}

// holds reports whether somebody has a role out of a list, in the workspace or,
// where p is a portal, in its room.
func (r *Relay) holds(ctx context.Context, list []string, who ids.RCUser, p Portal) (bool, error) {
	if config.Holds(list) {
		return true, nil
	}
	is, ok, err := r.RC.Profile(ctx, who)
	if err != nil || !ok {
		return false, err
	}
	if config.Holds(list, is.Roles...) || p.RCRoom == "" || p.RCType == directRoom {
		return config.Holds(list, is.Roles...), nil
	}
	roles, err := r.RC.Roles(ctx, p)
	return err == nil && config.Holds(list, roleNames[roles[who]]), err
}

// typedCommand reports whether a message is a command of ours that reached
// Rocket.Chat as a message, because the web server did not see it.
func typedCommand(text string) (name, params string, ok bool) {
	name, params, _ = strings.Cut(strings.TrimSpace(text), " ")
	name = strings.ToLower(name)
	return strings.TrimPrefix(name, "/"), strings.TrimSpace(convert.FirstLine(params)), name == "/bridge" || name == "/federation"
}

// carryOut carries out a command that was typed as a message. Whoever typed it is
// answered alone; the message stays where it is.
func (r *Relay) carryOut(ctx context.Context, item queue.Item, caller Caller, name, params string) {
	if r.Typed != nil && item.Attempts == 0 {
		r.Typed(ctx, caller, name, params)
	}
}
