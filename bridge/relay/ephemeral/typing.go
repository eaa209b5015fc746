package ephemeral

import (
	"context"
	"slices"
	"sync"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	typingAgain = 8 * time.Second // Rocket.Chat forgets it after fifteen
	typingFor   = 2 * time.Minute // a person who types longer has stopped unnoticed
)

// Typing shows on one side who is typing on the other.
type Typing struct {
	Store typingStore
	RC    typingRocketChat
	MX    typingMatrix
	Names ids.Namespace
	Live  func() config.Live

	calls *calls
	names *shownNames
	mu    sync.Mutex
	rooms map[ids.MXRoom]*typists
}

// TypingOnMatrix handles the list of people who are typing in a Matrix room.
func (t *Typing) TypingOnMatrix(ctx context.Context, room ids.MXRoom, users []ids.MXUser) {
	if live := t.Live(); !live.Enabled || !live.Typing {
		return
	}
	p, ok, err := t.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return
	}
	users = slices.DeleteFunc(slices.Clone(users), t.Names.Owns)
	t.mu.Lock()
	var before []ids.MXUser
	if old := t.rooms[room]; old != nil {
		before = old.users
	}
	if len(users) > 0 {
		t.rooms[room] = &typists{portal: p, users: users, until: time.Now().Add(typingFor)}
	} else {
		delete(t.rooms, room)
	}
	t.mu.Unlock()
	for _, u := range users {
		t.typeInRocketChat(p, u, true)
	}
	for _, u := range before {
		if !slices.Contains(users, u) {
			t.typeInRocketChat(p, u, false)
		}
	}
}

// typeInRocketChat shows the typing of users who already have an account.
func (t *Typing) typeInRocketChat(p model.Portal, user ids.MXUser, on bool) {
	t.calls.put("typing "+string(p.MXRoom)+" "+string(user), func(ctx context.Context) error {
		puppet, ok, err := t.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return t.RC.Typing(ctx, puppet, p.RCRoom, on)
	})
}

// repeatTyping shows again who is typing: Matrix says it once, and Rocket.Chat lets it expire.
func (t *Typing) repeatTyping(context.Context) {
	t.mu.Lock()
	var again []*typists
	for room, who := range t.rooms {
		if time.Now().After(who.until) || !t.Live().Typing {
			delete(t.rooms, room)
			continue
		}
		again = append(again, who)
	}
	t.mu.Unlock()
	for _, who := range again {
		for _, u := range who.users {
			t.typeInRocketChat(who.portal, u, true)
		}
	}
}

// TypingInRocketChat handles a person who starts or stops typing. shown is the username,
// or the display name where Rocket.Chat shows those.
func (t *Typing) TypingInRocketChat(room ids.RCRoom, shown string, on bool) {
	if live := t.Live(); !live.Enabled || !live.Typing {
		return
	}
	t.calls.put("typing "+string(room)+" "+shown, func(ctx context.Context) error {
		p, ok, err := t.Store.PortalByRC(ctx, room)
		if err != nil || !ok {
			return err
		}
		who, ok, err := t.names.whoIsShown(ctx, p, shown)
		if err != nil || !ok {
			return err
		}
		g, ok, err := t.Store.GhostByRC(ctx, who)
		if err != nil || !ok {
			return err
		}
		return t.MX.Typing(ctx, p.MXRoom, g.MXUser, on)
	})
}

// typists are the people who are typing in a Matrix room.
type typists struct {
	portal model.Portal
	users  []ids.MXUser
	until  time.Time
}
