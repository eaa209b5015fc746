package ephemeral

import (
	"context"
	"slices"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	typingAgain = 8 * time.Second // Rocket.Chat forgets it after fifteen
	typingFor   = 2 * time.Minute // no person types longer than this without a word
)

// TypingOnMatrix handles who types in a Matrix room now.
func (ev *Events) TypingOnMatrix(ctx context.Context, room ids.MXRoom, users []ids.MXUser) {
	if live := ev.Live(); !live.Enabled || !live.Typing {
		return
	}
	p, ok, err := ev.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return
	}
	users = slices.DeleteFunc(slices.Clone(users), ev.Names.Owns)
	ev.pending.mu.Lock()
	var before []ids.MXUser
	if old := ev.pending.typing[room]; old != nil {
		before = old.users
	}
	if len(users) > 0 {
		ev.pending.typing[room] = &typists{portal: p, users: users, until: time.Now().Add(typingFor)}
	} else {
		delete(ev.pending.typing, room)
	}
	ev.pending.mu.Unlock()
	for _, u := range users {
		ev.typeInRocketChat(p, u, true)
	}
	for _, u := range before {
		if !slices.Contains(users, u) {
			ev.typeInRocketChat(p, u, false)
		}
	}
}

// typeInRocketChat shows the typing of those who have an account already.
func (ev *Events) typeInRocketChat(p model.Portal, user ids.MXUser, on bool) {
	ev.pending.put("typing "+string(p.MXRoom)+" "+string(user), func(ctx context.Context) error {
		puppet, ok, err := ev.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return ev.RC.Typing(ctx, puppet, p.RCRoom, on)
	})
}

// repeatTyping says again who types: Matrix says it once, Rocket.Chat forgets.
func (ev *Events) repeatTyping(context.Context) {
	ev.pending.mu.Lock()
	var again []*typists
	for room, t := range ev.pending.typing {
		if time.Now().After(t.until) || !ev.Live().Typing {
			delete(ev.pending.typing, room)
			continue
		}
		again = append(again, t)
	}
	ev.pending.mu.Unlock()
	for _, t := range again {
		for _, u := range t.users {
			ev.typeInRocketChat(t.portal, u, true)
		}
	}
}

// TypingInRocketChat handles that a person types, or no longer. shown is the
// username, or the display name where Rocket.Chat shows those.
func (ev *Events) TypingInRocketChat(room ids.RCRoom, shown string, on bool) {
	if live := ev.Live(); !live.Enabled || !live.Typing {
		return
	}
	ev.pending.put("typing "+string(room)+" "+shown, func(ctx context.Context) error {
		p, ok, err := ev.Store.PortalByRC(ctx, room)
		if err != nil || !ok {
			return err
		}
		who, ok, err := ev.whoIsShown(ctx, p, shown)
		if err != nil || !ok {
			return err
		}
		g, ok, err := ev.Store.GhostByRC(ctx, who)
		if err != nil || !ok {
			return err
		}
		return ev.MX.Typing(ctx, p.MXRoom, g.MXUser, on)
	})
}

// typists are the people who type in a Matrix room.
type typists struct {
	portal model.Portal
	users  []ids.MXUser
	until  time.Time
}
