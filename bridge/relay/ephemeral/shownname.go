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

// shownNames resolves the names shown in a room to users, and caches the results.
type shownNames struct {
	RC     nameRocketChat
	people *people.People

	mu    sync.Mutex
	known map[string]knownName
}

// whoIsShown returns the user that a shown name refers to, and caches the result.
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
		return "", nil // nobody, or several people of the same name
	}
	mine, err := n.people.IsPuppet(ctx, found[0])
	if err != nil || mine || n.RC.IsBridge(found[0]) {
		return "", err
	}
	return found[0], nil
}

// A knownName is the user that a name refers to in a room; "" is nobody of Rocket.Chat's own.
type knownName struct {
	user ids.RCUser
	till time.Time
}
