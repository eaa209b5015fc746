// Package rcside is the Rocket.Chat side of the relay. It reads the rooms of
// portals over the websocket and, after every connect, over REST from where it
// stopped: the websocket makes it fast, REST makes it complete. It also carries out
// the relay's requests over REST, as the bridge account or as a puppet. It decides
// nothing about Matrix.
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

// Options describe how to reach Rocket.Chat.
type Options struct {
	Client            *rocketchat.Client // acts as the bridge account
	CreateTokenSecret secret.String
	Store             relay.Store
	Accept            Accept
	Ephemeral         Ephemeral
	Live              func() config.Live
	Log               *slog.Logger
	// Led reports whether any process reads Rocket.Chat; nil for a single process.
	Led func() bool
	// Now returns the time that all processes agree on; nil means this process's own clock.
	Now func() time.Time
	// PeopleEvery is the interval between two checks of the user list; 0 is the default.
	PeopleEvery time.Duration
	// Reconnects is called when the bridge account's session has ended and is about
	// to be reopened; it may be nil.
	Reconnects func()
}

// Side is Rocket.Chat: the parts that serve the relay, each in a file of its own,
// and the listeners. Methods are safe for concurrent use.
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
	leads   atomic.Bool // Listen is running
	led     func() bool // nil for a single process
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

// Begin records when the first process of all started. It is called before people
// can reach the bridge; later calls change nothing.
func (s *Side) Begin(ctx context.Context) error { return s.directs.Begin(ctx) }

// Listen reads the rooms of all portals until ctx ends. Only one process at a time
// runs it; the others call KeepUp, so that they know the portals and can take over.
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
		case <-looked: // later messages show in the room's message count
			s.readWithoutSession(ctx)
		case <-ctx.Done():
		}
	})
	running.Go(func() { s.changes.followPeople(ctx) })
	running.Go(func() { s.changes.watchPeople(ctx) })
	<-ctx.Done()
	return nil
}

// Connected reports whether the bridge account's session is live, in this process
// or in another.
func (s *Side) Connected() bool {
	if !s.leads.Load() && s.led != nil {
		return s.led()
	}
	return s.connected()
}
