package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/console"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/store"
)

const (
	// askedFor is how long a room's name is not requested again, and maxAsked for how
	// many rooms that is remembered.
	askedFor = 10 * time.Minute
	maxAsked = 20_000
	// lookAtOnce is how many names are requested at the same time, lookFor bounds how
	// long that takes, and waitForNames how long a page waits for unknown names.
	lookAtOnce   = 8
	lookFor      = 20 * time.Second
	waitForNames = 2 * time.Second

	// membersListed bounds how many members of a side a page lists, and membersFor how
	// long it waits for them.
	membersListed = 500
	membersFor    = 10 * time.Second
	// reconcileFor bounds how long comparing a room may take.
	reconcileFor = 50 * time.Second
)

// consoleRooms shows the portals and carries out administrators' requests.
type consoleRooms struct {
	*service
	client *rocketchat.Client
	mu     sync.Mutex
	asked  map[ids.RCRoom]time.Time // when a room's name was last requested
}

// placeOf parses the place where a list of rooms continues. Anything invalid means the beginning.
func placeOf(from string) store.PortalKey {
	at, room, ok := strings.Cut(from, ".")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || n < 0 {
		return store.PortalKey{}
	}
	return store.PortalKey{Created: time.UnixMilli(n), RCRoom: ids.RCRoom(room)}
}

// Rooms implements console.Rooms.
func (c *consoleRooms) Rooms(ctx context.Context, words, from string, limit int) (console.RoomPage, error) {
	portals, err := c.store.PortalsBefore(ctx, words, placeOf(from), limit+1)
	if err != nil {
		return console.RoomPage{}, err
	}
	var page console.RoomPage
	if len(portals) > limit {
		portals = portals[:limit]
		last := portals[limit-1]
		page.Next = fmt.Sprintf("%d.%s", last.Created.UnixMilli(), last.RCRoom)
	}
	if page.Total, err = c.store.CountPortals(ctx); err != nil {
		return page, err
	}
	c.look(ctx, portals)
	page.List, err = c.describe(ctx, portals)
	return page, err
}

// describe converts portals to rooms of the console.
func (c *consoleRooms) describe(ctx context.Context, portals []model.Portal) ([]console.Room, error) {
	lanes := make([]string, 0, 2*len(portals))
	for _, p := range portals {
		lanes = append(lanes, model.RCLane(p.RCRoom), model.MXLane(p.MXRoom))
	}
	sums, err := c.store.LanesNamed(ctx, lanes)
	out := make([]console.Room, len(portals))
	for i, p := range portals {
		kind := map[string]string{rocketchat.Channel: "channel", rocketchat.Group: "private room", rocketchat.Direct: "direct message"}[p.RCType]
		out[i] = console.Room{RCRoom: string(p.RCRoom), MXRoom: string(p.MXRoom), Title: p.Title, Type: cmp.Or(kind, p.RCType), With: string(p.RCReader), Created: p.Created}
		for d := range out[i].Lanes {
			name := lanes[2*i+d]
			sum := sums[name]
			out[i].Lanes[d] = console.RoomLane{Name: name, Backlog: console.Backlog{Waiting: sum.Waiting, Dead: sum.Dead, Oldest: sum.Oldest}, LastError: sum.LastError}
		}
	}
	return out, err
}

// look requests the names of rooms from Rocket.Chat, and waits a moment for those that
// are unknown. A known name may be outdated, so it is also requested now and then.
func (c *consoleRooms) look(ctx context.Context, portals []model.Portal) {
	var due []model.Portal
	unknown, now := false, time.Now()
	for _, p := range portals {
		if !p.IsDirect() && c.mayAsk(p.RCRoom, now) {
			due = append(due, p)
			unknown = unknown || p.Title == ""
		}
	}
	if len(due) == 0 {
		return
	}
	var mu sync.Mutex
	names, finished := map[ids.RCRoom]string{}, make(chan struct{})
	go func() {
		defer close(finished)
		// The page may be gone before the names arrive; the next one can use them.
		ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookFor)
		defer cancel()
		var g errgroup.Group
		g.SetLimit(lookAtOnce)
		for _, p := range due {
			g.Go(func() error {
				title := c.learn(ask, p)
				mu.Lock()
				defer mu.Unlock()
				names[p.RCRoom] = title
				return nil
			})
		}
		_ = g.Wait() // none of them returns an error
	}()
	if unknown {
		select {
		case <-finished:
		case <-ctx.Done():
		case <-time.After(waitForNames):
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, p := range portals {
		portals[i].Title = cmp.Or(names[p.RCRoom], p.Title)
	}
}

// mayAsk reports whether a room's name should be requested now, and records the request.
func (c *consoleRooms) mayAsk(room ids.RCRoom, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.asked[room]) < askedFor {
		return false
	}
	if c.asked == nil || len(c.asked) >= maxAsked {
		c.asked = map[ids.RCRoom]time.Time{}
	}
	c.asked[room] = now
	return true
}

// learn requests a room's name from Rocket.Chat and stores it. If that fails, the stored
// name stays.
func (c *consoleRooms) learn(ctx context.Context, p model.Portal) string {
	info, ok, err := c.rc.Room(ctx, p.RCRoom)
	title := cmp.Or(info.Title, info.Slug)
	if err == nil && ok && title != p.Title {
		err = c.store.SetTitle(ctx, p.RCRoom, title)
	}
	if err != nil {
		c.Log.Debug("a room's name is not known", "rc_room", p.RCRoom, "err", err)
	}
	return title
}

// portal returns a portal by its room in Rocket.Chat.
func (c *consoleRooms) portal(ctx context.Context, rcRoom string) (model.Portal, error) {
	p, ok, err := c.store.PortalByRC(ctx, ids.RCRoom(rcRoom))
	if err == nil && !ok {
		err = fmt.Errorf("%.80q %w", rcRoom, console.ErrNoRoom)
	}
	return p, err
}

// Room implements console.Rooms.
func (c *consoleRooms) Room(ctx context.Context, rcRoom string) (console.RoomView, error) {
	p, err := c.portal(ctx, rcRoom)
	if err != nil {
		return console.RoomView{}, err
	}
	one := []model.Portal{p}
	c.look(ctx, one)
	rooms, err := c.describe(ctx, one)
	if err != nil {
		return console.RoomView{}, err
	}
	v := console.RoomView{Room: rooms[0]}
	ctx, cancel := context.WithTimeout(ctx, membersFor)
	defer cancel()
	v.MXName = c.matrixName(ctx, p)
	about, err := c.relay.Commands().Describe(ctx, p.RCRoom)
	if err == nil {
		_, about, _ = strings.Cut(about, "\n") // the page already shows what the first sentence says
		v.About = strings.Split(about, "\n")
		err = c.members(ctx, p, &v)
	}
	if err != nil {
		c.Log.Warn("the members of a room could not be read for the console", "rc_room", p.RCRoom, "err", err)
		v.Unknown = "The members cannot be read now: one of the two servers does not answer, or does not show the room to the bridge."
	}
	return v, nil
}

// matrixName asks the homeserver for the name of a room there.
func (c *consoleRooms) matrixName(ctx context.Context, p model.Portal) string {
	content, ok, err := c.mx.State(ctx, p.MXRoom, p.Reader(c.relay.Names), "m.room.name", "")
	if err != nil || !ok {
		return ""
	}
	var named struct {
		Name any `json:"name"` // of any type: members choose it
	}
	_ = json.Unmarshal(content, &named)
	name, _ := named.Name.(string)
	return name
}

// members fills in the members of a room on both sides.
func (c *consoleRooms) members(ctx context.Context, p model.Portal, v *console.RoomView) error {
	here, there, err := c.relay.Commands().Members(ctx, p.RCRoom)
	if err != nil {
		return err
	}
	v.Here.Total = len(here)
	for _, who := range here[:min(len(here), membersListed)] {
		_, puppet, err := c.store.PuppetByRC(ctx, who.ID)
		if err != nil {
			return err
		}
		v.Here.List = append(v.Here.List, console.Member{Name: who.Display(), Address: who.Username, Ours: puppet, Bridge: c.rc.IsBridge(who.ID)})
	}
	for _, m := range there {
		if m.Membership != "join" && m.Membership != "invite" {
			continue
		}
		if v.There.Total++; v.There.Total <= membersListed {
			v.There.List = append(v.There.List, console.Member{Name: cmp.Or(m.Name, string(m.User)), Address: string(m.User), Membership: m.Membership, Ours: c.relay.Names.Owns(m.User), Bridge: m.User == c.relay.Names.BotUser()})
		}
	}
	return nil
}

// refusal turns the refusal of a slash command into one for the console.
func refusal(err error) error {
	if se, ok := errors.AsType[*model.SayError](err); ok {
		return &console.RefusedError{Text: se.Text}
	}
	return err
}

// Reconcile implements console.Rooms.
func (c *consoleRooms) Reconcile(ctx context.Context, rcRoom string) (int, error) {
	p, err := c.portal(ctx, rcRoom)
	if err != nil {
		return 0, err
	}
	if p.IsDirect() {
		return 0, &console.RefusedError{Text: "who is in a direct message never changes"}
	}
	ctx, cancel := context.WithTimeout(ctx, reconcileFor)
	defer cancel()
	n, err := c.relay.Reconcile(ctx, p)
	if err == nil {
		_, err = c.portal(ctx, rcRoom) // a room that is gone in Rocket.Chat was disconnected
	}
	return n, err
}

// find returns the identifier of a Rocket.Chat room, given its name or identifier.
func (c *consoleRooms) find(ctx context.Context, room string) (ids.RCRoom, error) {
	room = strings.TrimPrefix(room, "#")
	for _, ask := range []func(context.Context, string) (rocketchat.Room, bool, error){c.client.RoomByName, c.client.RoomByID} {
		r, ok, err := ask(ctx, room)
		if err == nil && ok {
			return ids.RCRoom(r.ID), nil
		}
		if err != nil && !rocketchat.Says(err, "Not Allowed", "not-allowed", "error-room-not-found", "error-invalid-room") {
			return "", err
		}
	}
	return "", &console.RefusedError{Text: "the bridge cannot see this room; add the user matrix-bridge to it and try again"}
}

// Connect implements console.Rooms.
func (c *consoleRooms) Connect(ctx context.Context, room string, last int) (string, int, error) {
	id, err := c.find(ctx, room)
	if err != nil {
		return "", 0, err
	}
	n, err := c.relay.Commands().History(ctx, model.Caller{Room: id}, last, time.Time{})
	return string(id), n, refusal(err)
}

// Link implements console.Rooms.
func (c *consoleRooms) Link(ctx context.Context, room, matrix string) (string, error) {
	id, err := c.find(ctx, room)
	if err != nil {
		return "", err
	}
	_, err = c.relay.Commands().Link(ctx, id, matrix)
	return string(id), refusal(err)
}

// Disconnect implements console.Rooms.
func (c *consoleRooms) Disconnect(ctx context.Context, rcRoom, by string) error {
	if _, err := c.portal(ctx, rcRoom); err != nil {
		return err
	}
	return refusal(c.relay.Commands().Unbridge(ctx, model.Caller{RCPerson: model.RCPerson{Username: by}, Room: ids.RCRoom(rcRoom)}))
}
