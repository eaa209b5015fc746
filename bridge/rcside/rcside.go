// Package rcside is the Rocket.Chat side of the relay. It reads the rooms of
// portals over the websocket and, after every connect, over REST from where it
// had stopped, so that the websocket makes it fast and REST makes it complete;
// and it carries out what the relay asks for over REST, as the bridge account or
// as a puppet. It decides nothing that concerns Matrix.
package rcside

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

var _ relay.RocketChat = (*Side)(nil)

// Options say how to reach Rocket.Chat.
type Options struct {
	Client            *rocketchat.Client // speaks for the bridge account
	CreateTokenSecret secret.String
	Store             relay.Store
	Accept            Accept
	Ephemeral         Ephemeral
	Live              func() config.Live
	Log               *slog.Logger
	// Led reports whether any process reads Rocket.Chat; nil for one that is alone.
	Led func() bool
	// Now is the time that all processes agree on; nil for this one's own.
	Now func() time.Time
	// PeopleEvery is between two looks at the list of people; 0 is the usual.
	PeopleEvery time.Duration
	// Reconnects is told when the bridge account's session has ended and is opened again;
	// nil is allowed.
	Reconnects func()
}

// Side is Rocket.Chat: the parts that the relay asks, each in a file of its own, and what
// listens. Methods are safe for concurrent use.
type Side struct {
	*accounts
	*people
	*rooms
	*messages
	*files
	*server
	*emojis
	*ephemeral
	*inbox
	*readers

	directs *directWatch
	changes *peopleWatch
	leads   atomic.Bool // Listen runs
	led     func() bool // nil for one that is alone
}

// New returns a side that reads nothing before Listen is called.
func New(o Options) *Side {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &accounts{client: o.Client, tokenSecret: o.CreateTokenSecret, store: o.Store, log: o.Log, renewals: map[ids.RCUser]*rate.Limiter{}}
	watched := &watched{watching: map[ids.RCRoom]model.Portal{}}
	server, emojis := &server{accounts: a}, &emojis{accounts: a}
	inbox := &inbox{a, server, watched, o.Accept}
	changes := &changes{a, make(chan change, maxTold)}
	parts := &parts{
		accounts: a, server: server, inbox: inbox, emojis: emojis, changes: changes, relay: o.Ephemeral, live: o.Live, reconnects: o.Reconnects,
	}
	readers := &readers{watched: watched, parts: parts, byAccount: map[ids.MXUser]*reader{}, more: make(chan struct{}, 1)}
	return &Side{
		accounts: a, people: &people{a}, rooms: &rooms{a}, messages: &messages{a, server, readers}, files: &files{a, server}, server: server,
		emojis: emojis, ephemeral: &ephemeral{a, server}, inbox: inbox, readers: readers, led: o.Led,
		directs: &directWatch{a, readers, o.Accept, o.Now}, changes: &peopleWatch{a, readers, changes, o.Ephemeral, o.PeopleEvery},
	}
}

// Begin notes when the first process of all begins. It is called before people can reach
// the bridge, and changes nothing later.
func (s *Side) Begin(ctx context.Context) error { return s.directs.Begin(ctx) }

// Listen reads the rooms of all portals until ctx ends. One process at a time does it;
// the others call KeepUp, so that they know the portals and can go on in its place.
func (s *Side) Listen(ctx context.Context) error {
	s.leads.Store(true)
	defer s.leads.Store(false)
	portals, err := s.store.Portals(ctx)
	if err != nil {
		return fmt.Errorf("read the portals: %w", err)
	}
	cursors, err := s.store.Cursors(ctx, model.RCCursors)
	if err != nil {
		return fmt.Errorf("read the cursors: %w", err)
	}
	for _, p := range portals {
		s.recall(p, cursors[string(p.RCRoom)])
	}
	s.readAgain()
	var running sync.WaitGroup
	defer running.Wait()
	s.begin(func(f func(context.Context)) func() {
		one, stop := context.WithCancel(ctx)
		running.Go(func() {
			defer stop()
			f(one)
		})
		return stop
	})
	defer s.begin(nil)
	for _, r := range s.byUse() {
		s.serve(r)
	}
	looked := make(chan struct{})
	running.Go(func() { s.directs.watchDirects(ctx, sync.OnceFunc(func() { close(looked) })) })
	running.Go(func() {
		select {
		case <-looked: // what is said after a room was read shows in its number of messages
			s.readWithoutSession(ctx)
		case <-ctx.Done():
		}
	})
	running.Go(func() { s.changes.followPeople(ctx) })
	running.Go(func() { s.changes.watchPeople(ctx) })
	<-ctx.Done()
	return nil
}

// Connected reports whether the bridge account's session is live, or that another
// process has one.
func (s *Side) Connected() bool {
	if !s.leads.Load() && s.led != nil {
		return s.led()
	}
	return s.connected()
}
