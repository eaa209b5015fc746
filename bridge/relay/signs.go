package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/ids"
)

// Signs are what passes: who types, who has read, who is there. They are never
// stored, never wait in a lane, and are dropped when there are too many: the next
// one says the same again.

// RocketChatSigns is the part of RocketChat that shows signs.
type RocketChatSigns interface {
	// Typing shows, for some seconds, that a puppet types, or no longer.
	Typing(ctx context.Context, as Puppet, room ids.RCRoom, on bool) error
	// MarkRead marks a room as read by a puppet.
	MarkRead(ctx context.Context, as Puppet, room ids.RCRoom) error
	// HasRead reports whether somebody has seen everything in a room.
	HasRead(ctx context.Context, p Portal, who ids.RCUser) (bool, error)
	// SetPresence shows whether a puppet is there.
	SetPresence(ctx context.Context, as Puppet, is Presence) error
	// Follow makes the side read again what Live says is to be read.
	Follow()
}

// MatrixSigns is the part of Matrix that shows signs.
type MatrixSigns interface {
	// Typing shows for a while that a ghost types, or no longer.
	Typing(ctx context.Context, room ids.MXRoom, as ids.MXUser, on bool) error
	// MarkRead shows that a ghost has read up to an event.
	MarkRead(ctx context.Context, room ids.MXRoom, as ids.MXUser, event ids.MXEvent) error
	// SetPresence shows whether a ghost is there.
	SetPresence(ctx context.Context, as ids.MXUser, is Presence) error
	// Follow reads a room through a ghost for some minutes, where nothing
	// else shows what happens in it.
	Follow(ghost ids.MXUser)
}

const (
	signWorkers = 4
	maxSigns    = 1000            // more than that are dropped
	signTimeout = 5 * time.Second // of one call
	typingAgain = 8 * time.Second // Rocket.Chat forgets it after fifteen
	typingFor   = 2 * time.Minute // longer nobody types without a sign of it
)

// signs waits with calls that are of no use when they are late. Of those with the
// same key only the newest is kept.
type signs struct {
	mu      sync.Mutex
	waiting map[string]func(context.Context) error
	order   []string
	more    chan struct{}

	typing map[ids.MXRoom]*typists
	unread map[ids.MXRoom]*unread
	names  map[string]knownName
}

// typists are the people who type in a Matrix room.
type typists struct {
	portal Portal
	users  []ids.MXUser
	until  time.Time
}

func (s *signs) init() {
	s.waiting, s.more = map[string]func(context.Context) error{}, make(chan struct{}, signWorkers)
	s.typing, s.unread, s.names = map[ids.MXRoom]*typists{}, map[ids.MXRoom]*unread{}, map[string]knownName{}
}

// put adds a call.
func (s *signs) put(key string, call func(context.Context) error) {
	s.mu.Lock()
	_, old := s.waiting[key]
	if old || len(s.order) < maxSigns {
		s.waiting[key] = call
		if !old {
			s.order = append(s.order, key)
		}
	}
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *signs) take() (func(context.Context) error, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 {
		return nil, false
	}
	key := s.order[0]
	s.order = s.order[1:]
	call := s.waiting[key]
	delete(s.waiting, key)
	return call, true
}

// runSigns makes the calls until ctx ends.
func (r *Relay) runSigns(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range signWorkers {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-r.signs.more:
				}
				for call, ok := r.signs.take(); ok; call, ok = r.signs.take() {
					one, cancel := context.WithTimeout(ctx, signTimeout)
					if err := call(one); err != nil && ctx.Err() == nil {
						r.Log.Debug("a sign was not shown", "err", err)
					}
					cancel()
				}
			}
		})
	}
	g.Go(func() error { return r.every(ctx, typingAgain, r.repeatTyping) })
	g.Go(func() error { return r.every(ctx, readEvery, r.lookWhoHasRead) })
	return g.Wait()
}

// every calls f again and again until ctx ends.
func (*Relay) every(ctx context.Context, d time.Duration, f func(context.Context)) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f(ctx)
		}
	}
}

// TypingOnMatrix takes who types in a Matrix room now.
func (r *Relay) TypingOnMatrix(ctx context.Context, room ids.MXRoom, users []ids.MXUser) {
	r.init()
	if live := r.Live(); !live.Enabled || !live.Typing {
		return
	}
	p, ok, err := r.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return
	}
	users = slices.DeleteFunc(slices.Clone(users), r.Names.Owns)
	r.signs.mu.Lock()
	var before []ids.MXUser
	if old := r.signs.typing[room]; old != nil {
		before = old.users
	}
	if len(users) > 0 {
		r.signs.typing[room] = &typists{portal: p, users: users, until: time.Now().Add(typingFor)}
	} else {
		delete(r.signs.typing, room)
	}
	r.signs.mu.Unlock()
	for _, u := range users {
		r.typeInRocketChat(p, u, true)
	}
	for _, u := range before {
		if !slices.Contains(users, u) {
			r.typeInRocketChat(p, u, false)
		}
	}
}

// typeInRocketChat shows the typing of those who have an account already.
func (r *Relay) typeInRocketChat(p Portal, user ids.MXUser, on bool) {
	r.signs.put("typing "+string(p.MXRoom)+" "+string(user), func(ctx context.Context) error {
		puppet, ok, err := r.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return r.RC.Typing(ctx, puppet, p.RCRoom, on)
	})
}

// repeatTyping says again who types: Matrix says it once, Rocket.Chat forgets.
func (r *Relay) repeatTyping(context.Context) {
	r.signs.mu.Lock()
	var again []*typists
	for room, t := range r.signs.typing {
		if time.Now().After(t.until) || !r.Live().Typing {
			delete(r.signs.typing, room)
			continue
		}
		again = append(again, t)
	}
	r.signs.mu.Unlock()
	for _, t := range again {
		for _, u := range t.users {
			r.typeInRocketChat(t.portal, u, true)
		}
	}
}

// TypingInRocketChat takes that somebody types, or no longer. shown is the
// username, or the display name where Rocket.Chat shows those.
func (r *Relay) TypingInRocketChat(room ids.RCRoom, shown string, on bool) {
	r.init()
	if live := r.Live(); !live.Enabled || !live.Typing {
		return
	}
	r.signs.put("typing "+string(room)+" "+shown, func(ctx context.Context) error {
		p, ok, err := r.Store.PortalByRC(ctx, room)
		if err != nil || !ok {
			return err
		}
		who, ok, err := r.whoIsShown(ctx, p, shown)
		if err != nil || !ok {
			return err
		}
		g, ok, err := r.Store.GhostByRC(ctx, who)
		if err != nil || !ok {
			return err
		}
		return r.MX.Typing(ctx, p.MXRoom, g.MXUser, on)
	})
}

// A knownName is whom a name means in a room; "" is nobody of Rocket.Chat's own.
type knownName struct {
	user ids.RCUser
	till time.Time
}

const (
	nameFor  = 5 * time.Minute
	maxNames = 10000
)

// whoIsShown finds out who a name means, and remembers it for a while.
func (r *Relay) whoIsShown(ctx context.Context, p Portal, shown string) (ids.RCUser, bool, error) {
	key := string(p.RCRoom) + " " + shown
	r.signs.mu.Lock()
	known, ok := r.signs.names[key]
	r.signs.mu.Unlock()
	if ok && time.Now().Before(known.till) {
		return known.user, known.user != "", nil
	}
	user, err := r.lookUpShown(ctx, p, shown)
	if err != nil {
		return "", false, err
	}
	r.signs.mu.Lock()
	if len(r.signs.names) >= maxNames {
		clear(r.signs.names)
	}
	r.signs.names[key] = knownName{user: user, till: time.Now().Add(nameFor)}
	r.signs.mu.Unlock()
	return user, user != "", nil
}

func (r *Relay) lookUpShown(ctx context.Context, p Portal, shown string) (ids.RCUser, error) {
	members, err := r.RC.Members(ctx, p)
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
	mine, err := r.ours(ctx, found[0])
	if err != nil || mine || r.RC.IsBridge(found[0]) {
		return "", err
	}
	return found[0], nil
}

// PresenceOnMatrix takes whether somebody on Matrix is there.
func (r *Relay) PresenceOnMatrix(user ids.MXUser, is Presence) {
	r.init()
	if live := r.Live(); !live.Enabled || !live.Presence || r.Names.Owns(user) {
		return
	}
	r.signs.put("presence "+string(user), func(ctx context.Context) error {
		puppet, ok, err := r.Store.PuppetByMX(ctx, user)
		if err != nil || !ok {
			return err
		}
		return r.RC.SetPresence(ctx, puppet, is)
	})
}

// PresenceInRocketChat takes whether somebody in Rocket.Chat is there.
func (r *Relay) PresenceInRocketChat(user ids.RCUser, is Presence) {
	r.init()
	if live := r.Live(); !live.Enabled || !live.Presence {
		return
	}
	r.signs.put("presence "+string(user), func(ctx context.Context) error {
		g, ok, err := r.Store.GhostByRC(ctx, user)
		if err != nil || !ok {
			return err
		}
		return r.MX.SetPresence(ctx, g.MXUser, is)
	})
}
