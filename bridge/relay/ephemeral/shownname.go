package ephemeral

import (
	"context"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	nameFor  = 5 * time.Minute
	maxNames = 10000
)

// whoIsShown finds out who a name means, and remembers it for a while.
func (ev *Events) whoIsShown(ctx context.Context, p model.Portal, shown string) (ids.RCUser, bool, error) {
	key := string(p.RCRoom) + " " + shown
	ev.pending.mu.Lock()
	known, ok := ev.pending.names[key]
	ev.pending.mu.Unlock()
	if ok && time.Now().Before(known.till) {
		return known.user, known.user != "", nil
	}
	user, err := ev.lookUpShown(ctx, p, shown)
	if err != nil {
		return "", false, err
	}
	ev.pending.mu.Lock()
	if len(ev.pending.names) >= maxNames {
		clear(ev.pending.names)
	}
	ev.pending.names[key] = knownName{user: user, till: time.Now().Add(nameFor)}
	ev.pending.mu.Unlock()
	return user, user != "", nil
}

func (ev *Events) lookUpShown(ctx context.Context, p model.Portal, shown string) (ids.RCUser, error) {
	members, err := ev.RC.Members(ctx, p)
	if err != nil {
		return "", err
	}
	var found []ids.RCUser
	for _, m := range members {
		if m.Username == shown {
			found = []ids.RCUser{m.ID}
			break
		}
		if m.Name == shown {
			found = append(found, m.ID)
		}
	}
	if len(found) != 1 {
		return "", nil // nobody, or one of several of the same name
	}
	mine, err := ev.People.IsPuppet(ctx, found[0])
	if err != nil || mine || ev.RC.IsBridge(found[0]) {
		return "", err
	}
	return found[0], nil
}

// A knownName is whom a name means in a room; "" is nobody of Rocket.Chat's own.
type knownName struct {
	user ids.RCUser
	till time.Time
}
