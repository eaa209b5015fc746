package ephemeral

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
)

const (
	nameFor  = 5 * time.Minute
	maxNames = 10000
)

// shownNames finds out whom a name means in a room, and remembers it for a while.
type shownNames struct {
	RC     nameRocketChat
	people *people.People

	mu    sync.Mutex
	known map[string]knownName
}

// whoIsShown finds out who a name means, and remembers it for a while.
func (n *shownNames) whoIsShown(ctx context.Context, p model.Portal, shown string) (ids.RCUser, bool, error) {
	key := string(p.RCRoom) + " " + shown
	n.mu.Lock()
	known, ok := n.known[key]
	n.mu.Unlock()
	if ok && time.Now().Before(known.till) {
		return known.user, known.user != "", nil
	}
	user, err := n.lookUpShown(ctx, p, shown)
	if err != nil {
		return "", false, err
	}
	n.mu.Lock()
	if len(n.known) >= maxNames {
		clear(n.known)
	}
	n.known[key] = knownName{user: user, till: time.Now().Add(nameFor)}
	n.mu.Unlock()
	return user, user != "", nil
}

func (n *shownNames) lookUpShown(ctx context.Context, p model.Portal, shown string) (ids.RCUser, error) {
	members, err := n.RC.Members(ctx, p)
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
	mine, err := n.people.IsPuppet(ctx, found[0])
	if err != nil || mine || n.RC.IsBridge(found[0]) {
		return "", err
	}
	return found[0], nil
}

// A knownName is whom a name means in a room; "" is nobody of Rocket.Chat's own.
type knownName struct {
	user ids.RCUser
	till time.Time
}
