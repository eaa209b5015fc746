package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A guest joins and leaves a room, again and again, and says nothing. In the end both
// sides must agree whether the guest is there.
type guest struct {
	name  string
	in    bool
	moves int
	// enter and leave may be retried; invited says that an earlier attempt sent the invitation.
	enter, leave func(ctx context.Context, invited *bool) error
	// inChat reports whether the guest is in the Rocket.Chat room, onMatrix whether the
	// bridge's homeserver has the guest in the Matrix room. Homeservers that were cut off
	// from each other may revert a membership that they had accepted, so what the guest
	// was told last does not count.
	inChat   func(ctx context.Context) (bool, error)
	onMatrix func(ctx context.Context) (views, error)
}

const (
	// shortestStay is how long a guest stays, or stays away, at least.
	shortestStay = 15 * time.Second
	// movePatience is how long a guest retries a move: homeservers that do not agree who
	// was invited may never agree.
	movePatience = time.Minute
)

// visit moves in and out until over ends, with pauses between stay and twice as long.
func (g *guest) visit(ctx, over context.Context, r *rand.Rand, stay time.Duration) error {
	for {
		select {
		case <-over.Done():
			return ctx.Err()
		case <-time.After(stay + time.Duration(r.Int64N(int64(stay)))):
		}
		move := g.enter
		if g.in {
			move = g.leave
		}
		trying, cancel := context.WithTimeout(ctx, movePatience)
		invited := false
		err := insist(trying, func() error { return move(trying, &invited) })
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		if err != nil {
			continue
		}
		g.in = !g.in
		g.moves++
	}
}

// views are what a homeserver says about a member in two places: in the list of joined
// members, and in the list of all members. Dendrite (0.15) keeps both, and after an
// outage between homeservers they may differ for good, in either direction.
type views struct {
	joined bool
	member string // "none" if there is nothing
}

// agree reports whether at least one of the two agrees with in.
func (v views) agree(in bool) bool { return v.joined == in || (v.member == "join") == in }

// judge compares both sides.
func (g *guest) judge(ctx context.Context) (v verdict, err error) {
	here, err := g.inChat(ctx)
	if err != nil {
		return v, err
	}
	there, err := g.onMatrix(ctx)
	if err == nil && !there.agree(here) {
		v.note(&v.member, "%s is in the room of Rocket.Chat: %t; for the homeserver: %t, %s", g.name, here, there.joined, there.member)
	}
	return v, err
}

// Carol is a guest from Matrix, Dave one from Rocket.Chat.
const (
	carolPuppet = "carol_" + remoteName
	daveMX      = "@dave:" + serverName
)

// guests adds the guests to every stage.
func (d storm) guests(ctx context.Context, c *cast, admin *chatUser, stages []*stage) error {
	carol, err := d.person(ctx, c.bob.client, "carol")
	if err != nil {
		return err
	}
	dave, err := d.ensureUser(ctx, admin, "dave", "Dave Brubeck", []string{"user", "bot"})
	if err != nil {
		return err
	}
	for _, s := range stages {
		onMatrix := func(user string) func(ctx context.Context) (views, error) {
			return func(ctx context.Context) (views, error) { return s.witness.member(ctx, s.mxRoom, user) }
		}
		inChat := func(name string) func(ctx context.Context) (bool, error) {
			return func(ctx context.Context) (bool, error) { return c.alice.hasMember(ctx, s.room, name) }
		}
		s.guests = []*guest{
			{
				name:     "carol",
				enter:    func(ctx context.Context, invited *bool) error { return carol.comeIn(ctx, c.alice, s, invited) },
				leave:    func(ctx context.Context, _ *bool) error { return carol.goOut(ctx, s.mxRoom) },
				inChat:   inChat(carolPuppet),
				onMatrix: onMatrix(carol.id),
			},
			{
				name:     "dave",
				enter:    func(ctx context.Context, _ *bool) error { return c.alice.invite(ctx, s.room, dave) },
				leave:    func(ctx context.Context, _ *bool) error { return dave.goOut(ctx, s.room) },
				inChat:   inChat(dave.name),
				onMatrix: onMatrix(daveMX),
			},
		}
	}
	return nil
}

// comeIn joins a room, after an invitation from Rocket.Chat where that is needed.
func (m *matrixUser) comeIn(ctx context.Context, host *chatUser, s *stage, invited *bool) error {
	join := func() error {
		return m.do(ctx, http.MethodPost, "/_matrix/client/v3/join/"+url.PathEscape(s.mxRoom), map[string]any{}, nil)
	}
	err := join()
	if err != nil && !*invited {
		if err := host.command(ctx, s.room, "bridge", "invite "+m.id); err != nil {
			return err
		}
		*invited = true
	}
	for n := 1; err != nil && n < 7; n++ {
		wait(ctx, time.Duration(n)*250*time.Millisecond)
		err = join()
	}
	return err
}

// goOut leaves a room.
func (m *matrixUser) goOut(ctx context.Context, room string) error {
	err := m.do(ctx, http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/leave", map[string]any{}, nil)
	if err == nil {
		return nil
	}
	var out struct {
		Rooms []string `json:"joined_rooms"`
	}
	if lerr := m.do(ctx, http.MethodGet, "/_matrix/client/v3/joined_rooms", nil, &out); lerr != nil || slices.Contains(out.Rooms, room) {
		return errors.Join(err, lerr)
	}
	return nil // the answer to an earlier attempt was lost
}

// member returns what the homeserver has for a user of a room.
func (m *matrixUser) member(ctx context.Context, room, user string) (v views, err error) {
	path := "/_matrix/client/v3/rooms/" + url.PathEscape(room)
	var joined struct {
		Joined map[string]any `json:"joined"`
	}
	if err := m.do(ctx, http.MethodGet, path+"/joined_members", nil, &joined); err != nil {
		return v, err
	}
	_, v.joined = joined.Joined[user]
	var members struct {
		Chunk []struct {
			User    string `json:"state_key"`
			Content struct {
				Membership string `json:"membership"`
			} `json:"content"`
		} `json:"chunk"`
	}
	v.member = "none"
	err = m.do(ctx, http.MethodGet, path+"/members", nil, &members)
	for _, one := range members.Chunk {
		if one.User == user {
			v.member = one.Content.Membership
		}
	}
	return v, err
}

func (c *chatUser) invite(ctx context.Context, room string, who *chatUser) error {
	if in, err := c.hasMember(ctx, room, who.name); in || err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, "groups.invite", map[string]string{"roomId": room, "userId": who.id}, nil)
}

// goOut leaves a room. A user who is not there cannot list its members either.
func (c *chatUser) goOut(ctx context.Context, room string) error {
	err := c.do(ctx, http.MethodPost, "groups.leave", map[string]string{"roomId": room}, nil)
	if err == nil {
		return nil
	}
	var out struct {
		Update []struct {
			RID string `json:"rid"`
		} `json:"update"`
	}
	if lerr := c.do(ctx, http.MethodGet, "subscriptions.get", nil, &out); lerr != nil {
		return errors.Join(err, lerr)
	}
	for _, s := range out.Update {
		if s.RID == room {
			return err
		}
	}
	return nil // the answer to an earlier attempt was lost
}

// hasMember asks Rocket.Chat whether a user is in a room.
func (c *chatUser) hasMember(ctx context.Context, room, username string) (bool, error) {
	var out struct {
		Members []struct {
			Username string `json:"username"`
		} `json:"members"`
	}
	err := c.do(ctx, http.MethodGet, "groups.members?count=100&roomId="+room, nil, &out)
	for _, m := range out.Members {
		if m.Username == username {
			return true, nil
		}
	}
	return false, err
}
