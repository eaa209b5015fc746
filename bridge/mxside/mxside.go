// Package mxside is the Matrix side of the relay: an application service of one
// homeserver. It takes in events from two streams, the homeserver's transactions
// and the bot's own /sync, into one store, and acknowledges a transaction only once
// its events are on disk. It also carries out the relay's requests, as the bot or
// as a ghost. It decides nothing that concerns Rocket.Chat.
//
// It speaks the Client-Server and the Application Service API of Matrix v1.x as
// Dendrite 0.15 and Synapse implement them; package mautrix is its client.
package mxside

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/pause"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
	"appliance/bridge/secret"
)

var _ relay.Matrix = (*Side)(nil)

// Options say how to reach the homeserver.
type Options struct {
	URL     string        // of the client-server API
	Kind    string        // of homeserver, as in bridge.yaml; see Traits
	ID      string        // of the application service
	ASToken secret.String // with which the bridge authenticates to the homeserver
	HSToken secret.String // with which the homeserver authenticates to the bridge
	Names   ids.Namespace
	Store   Store
	Accept  func(ctx context.Context, items []queue.Item, cursors map[string]string) error
	// Person reports whether one of our addresses stands for a person, and creates
	// its ghost if so.
	Person func(ctx context.Context, user ids.MXUser) (bool, error)
	// Alias reports whether one of our aliases leads to a room, and makes it do so
	// if it should.
	Alias func(ctx context.Context, alias string) (bool, error)
	// Team is shared by the processes that divide the work; nil for a process that is alone.
	Team Team
	// Ephemeral takes typing, receipts and presence.
	Ephemeral Ephemeral
	// SweepPause is the pause between reads of ghosts, and before rereading a room; 0 is the default.
	SweepPause time.Duration
	// Through wraps the transport of requests to the homeserver, and Reconnects is
	// called when the homeserver did not respond and will be retried; nil is allowed.
	Through    func(http.RoundTripper) http.RoundTripper
	Reconnects func()
	Live       func() config.Live
	Log        *slog.Logger
}

// Side is the Matrix side: the parts that the relay calls, each in a file of its
// own, and the listeners. Methods are safe for concurrent use.
type Side struct {
	*people
	*versions
	*rooms
	*membership
	*directory
	*messages
	*probes
	*files
	*ephemeral
	*contact

	team       *team
	syncer     *syncer
	strategy   strategy
	echoes     *echoes
	appService *appService
	reconnects func() // nil is allowed
}

// New returns a side that reads nothing before Listen is called.
func New(o Options) (*Side, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the homeserver's address: %w", err)
	}
	traits, err := TraitsOf(o.Kind)
	if err != nil {
		return nil, err
	}
	team := &team{Team: o.Team}
	contact := newContact(traits.Disorder, team)
	var transport http.RoundTripper = &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute, DialContext: dialFor(contact.broke)}
	if o.Through != nil {
		transport = o.Through(transport)
	}
	c := &client{base: base, token: o.ASToken, names: o.Names, traits: traits, log: o.Log, http: &http.Client{Transport: underLease{registered{transport}}}}
	versions := &versions{client: c}
	rooms := &rooms{c, versions}
	p := parts{client: c, team: team, contact: contact, sweepPause: o.SweepPause, ephemeral: &ephemeral{c, o.Ephemeral}}
	history := &history{c, p.contact}
	p.inbox = &inbox{names: o.Names, store: o.Store, accept: o.Accept}
	p.pings = &pings{c, o.ID, p.contact}
	p.probes = newProbes(c, history, o.Store)
	p.replay = &replay{client: c, contact: p.contact, history: history, inbox: p.inbox}
	p.rereads = &rereads{client: c, versions: versions, probes: p.probes, history: history, inbox: p.inbox, hurry: o.SweepPause, gaps: map[ids.MXRoom]*gap{}}
	echoes := &echoes{client: c, store: o.Store, accept: o.Accept}
	p.transactions = &transactions{c, p.contact, p.replay, p.rereads, p.inbox, echoes}
	p.syncer = &syncer{c, o.Live}
	s := &Side{
		people: &people{c}, versions: versions, rooms: rooms, membership: &membership{c, rooms}, directory: &directory{c, rooms}, messages: &messages{c},
		probes: p.probes, files: &files{client: c}, ephemeral: p.ephemeral, contact: p.contact, team: team, syncer: p.syncer, strategy: choose(traits, p), echoes: echoes, reconnects: o.Reconnects,
	}
	s.appService = &appService{
		traits: traits, token: o.HSToken, strategy: s.strategy, ephemeral: p.ephemeral, hints: newHints(c, p.syncer, p.inbox, o.Person),
		person: o.Person, alias: o.Alias, log: o.Log,
	}
	return s, nil
}

// Routes adds the endpoints that the homeserver and the web server call.
func (s *Side) Routes(mux *http.ServeMux) { s.appService.routes(mux) }

// Invitations implements relay.Matrix: the invitations that a ghost has not answered, from
// its own GET /sync. Not every homeserver pushes invitations from other servers.
func (s *Side) Invitations(ctx context.Context, ghost ids.MXUser) (map[string]event.MXInvited, error) {
	return s.syncer.Invitations(ctx, ghost)
}

// Follow implements relay.Matrix.
func (s *Side) Follow(ghost ids.MXUser) { s.strategy.follow(ghost) }

// Listen does, until ctx ends, the work of every process that takes transactions; see
// Lead for the work that one process does for all.
func (s *Side) Listen(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.appService.hints.run(ctx) })
	running.Go(func() { s.echoes.run(ctx) })
	s.strategy.run(ctx, &running)
	s.watch(ctx)
	return nil
}

// keep keeps in touch with the homeserver until ctx ends.
func (s *Side) keep(ctx context.Context) {
	for failures := 0; ; {
		err := s.Register(ctx, s.people.bot(), "Rocket.Chat bridge")
		for err == nil {
			if err = s.strategy.keep(ctx); err == nil {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.strategy.lost()
		if s.reconnects != nil {
			s.reconnects()
		}
		failures++
		after := pause.Spread(pause.After(failures, minPause, maxPause))
		s.people.log.Warn("the homeserver does not answer", "err", err, "pause", after)
		wait(ctx, after)
	}
}

// watch checks periodically whether the homeserver is reachable, while this process
// does not lead, until ctx ends.
func (s *Side) watch(ctx context.Context) {
	for {
		if !s.team.leading() {
			switch err := s.people.whoami(ctx, s.people.bot()); {
			case err == nil:
				s.contact.answered()
			case ctx.Err() == nil:
				s.contact.lost()
			}
		}
		if !wait(ctx, watchEvery) {
			return
		}
	}
}

// Lead watches the homeserver, and reads what its transactions may lack or bring in the
// wrong order, until ctx ends. Only one process at a time does this.
func (s *Side) Lead(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	if !s.team.alone() {
		s.team.leads.Store(true)
		defer s.team.leads.Store(false)
		s.strategy.lost() // nobody has watched for a while
	}
	s.strategy.lead(ctx, &running)
	s.keep(ctx)
	return nil
}
