// Package ephemeral carries ephemeral events between the sides: typing notifications (typing.go),
// read receipts (receipt.go) and presence (presence.go). They are never stored, never wait in a
// lane, and are dropped when there are too many: the next one replaces the last.
package ephemeral

import (
	"context"
	"log/slog"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/people"

	"golang.org/x/sync/errgroup"
)

// Events carries ephemeral events. Its methods are safe for concurrent use.
type Events struct {
	*Typing
	*Receipts
	*Presences

	calls *calls
	log   *slog.Logger
}

// Parts are the dependencies of Events.
type Parts struct {
	Store  Store
	RC     RocketChat
	MX     Matrix
	Names  ids.Namespace
	Live   func() config.Live
	Log    *slog.Logger
	People *people.People
}

// New returns an Events that carries ephemeral events while Run runs.
func New(p Parts) *Events {
	c := newCalls()
	names := &shownNames{RC: p.RC, people: p.People, known: map[string]knownName{}}
	return &Events{
		calls: c, log: p.Log,
		Typing:    &Typing{Store: p.Store, RC: p.RC, MX: p.MX, Names: p.Names, Live: p.Live, calls: c, names: names, rooms: map[ids.MXRoom]*typists{}},
		Receipts:  &Receipts{Store: p.Store, RC: p.RC, MX: p.MX, Names: p.Names, Live: p.Live, People: p.People, calls: c, rooms: map[ids.MXRoom]*unread{}},
		Presences: &Presences{Store: p.Store, RC: p.RC, MX: p.MX, Names: p.Names, Live: p.Live, calls: c},
	}
}

// Run carries ephemeral events until ctx ends.
func (ev *Events) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return ev.calls.run(ctx, ev.log) })
	}
	g.Go(func() error { return every(ctx, typingAgain, ev.repeatTyping) })
	g.Go(func() error { return every(ctx, readEvery, ev.lookWhoHasRead) })
	return g.Wait()
}

// every calls f at intervals of d until ctx ends.
func every(ctx context.Context, d time.Duration, f func(context.Context)) error {
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
