// Package ephemeral carries ephemeral events between the sides: who types, who has read,
// who is there. They are never stored, never wait in a lane, and are dropped when there
// are too many: the next one says the same again.
package ephemeral

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/people"
)

// Events carries ephemeral events. Its methods are safe for concurrent use.
type Events struct {
	Store  Store
	RC     RocketChat
	MX     Matrix
	Names  ids.Namespace
	Live   func() config.Live
	Log    *slog.Logger
	People *people.People

	pending *pending
}

// New completes Events whose exported fields are set.
func New(ev *Events) *Events {
	ev.pending = newPending()
	return ev
}

// Run makes the calls until ctx ends.
func (ev *Events) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-ev.pending.more:
				}
				for call, ok := ev.pending.take(); ok; call, ok = ev.pending.take() {
					one, cancel := context.WithTimeout(ctx, callTimeout)
					if err := call(one); err != nil && ctx.Err() == nil {
						ev.Log.Debug("an ephemeral event was not shown", "err", err)
					}
					cancel()
				}
			}
		})
	}
	g.Go(func() error { return every(ctx, typingAgain, ev.repeatTyping) })
	g.Go(func() error { return every(ctx, readEvery, ev.lookWhoHasRead) })
	return g.Wait()
}
