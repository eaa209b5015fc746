// Package relay connects the two sides. It stores what they receive (Accept), passes each
// item to the handler for its kind (Deliver), and decides what happens to an item that
// cannot be delivered. The decisions themselves are made in the packages below it:
// people, portal, membership, ephemeral, and one package for each direction, tomatrix and
// torocketchat. The sides talk to their networks and know nothing of each other; the
// queue decides when items are delivered.
package relay

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/trace"

	"golang.org/x/sync/errgroup"
)

// Relay carries events between the sides. Its exported fields are set before it is
// used. Its methods are safe for concurrent use.
type Relay struct {
	Store Store
	RC    RocketChat
	MX    Matrix
	Names ids.Namespace
	Site  string             // Rocket.Chat's address as people see it
	Live  func() config.Live // the current configuration; a delivery reads it once
	Log   *slog.Logger
	// Delivered is called after each delivery, with the time that the item waited and the
	// time that the last attempt took. nil is allowed.
	Delivered func(kind string, waited, took time.Duration)

	// GaveUp is called for each item that became a dead letter, with one of
	// model.Reasons. nil is allowed.
	GaveUp func(kind, reason string)

	// Heard is called for each message from a Matrix server that was delivered or given
	// up. nil is allowed.
	Heard func(server string, gaveUp bool)

	// Typed is called for a command that reached Rocket.Chat as a
	// message. nil is allowed.
	Typed func(ctx context.Context, caller model.Caller, name, params string)

	// Trace records the path of items; nil is allowed.
	Trace *trace.Tracer

	// Lock locks a key among all processes that share the store; nil when
	// there is only one.
	Lock func(key string) (unlock func(), err error)

	// Now returns the time that all processes sharing the store agree on; nil means this
	// process's own clock.
	Now func() time.Time

	// ReconcileEvery is the interval between two comparisons of all rooms; 0 means the default.
	ReconcileEvery time.Duration

	worker queue.Worker
	files  queue.Worker // for files that follow their messages

	ready sync.Once
	parts parts
}

// typed passes on a command that reached Rocket.Chat as a message.
func (r *Relay) typed(ctx context.Context, caller model.Caller, name, params string) {
	if r.Typed != nil {
		r.Typed(ctx, caller, name, params)
	}
}

// Run delivers stored items until ctx ends. Every process runs it; Sweep is what one
// process does for all.
func (r *Relay) Run(ctx context.Context) error {
	r.init()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.worker.Run(ctx) })
	g.Go(func() error { return r.files.Run(ctx) })
	g.Go(func() error { return r.parts.ephemeral.Run(ctx) })
	g.Go(func() error { return r.parts.audit.Run(ctx) })
	return g.Wait()
}

// Sweep compares rooms and publishes public channels until ctx ends. One process
// at a time runs it.
func (r *Relay) Sweep(ctx context.Context) error {
	r.init()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.parts.reconciler.Run(ctx) })
	g.Go(func() error { return r.parts.public.Run(ctx) })
	return g.Wait()
}

// Wake makes the workers look for items now. It is called when Live has changed and when
// another process has added work, possibly before the sides are known.
func (r *Relay) Wake() {
	r.worker.Wake()
	r.files.Wake()
}

// Follow makes the sides read what Live now says to read, and Matrix see the channels
// that are chosen now.
func (r *Relay) Follow() {
	r.init()
	r.RC.Follow()
	r.parts.public.Look()
}

// Accept stores items and cursors in one transaction. A side may acknowledge them to its
// network only after Accept has returned nil. Passing an event twice is harmless.
func (r *Relay) Accept(ctx context.Context, items []queue.Item, cursors map[string]string) error {
	begun := time.Now()
	fresh := r.untold(ctx, items)
	n, err := r.Store.Accept(ctx, begun, items, cursors)
	if err != nil {
		return err
	}
	if n > 0 {
		r.Trace.Stored(ctx, begun, fresh)
		r.Wake()
	}
	return nil
}

// untold returns the traced items that are new: a server reports some events twice.
func (r *Relay) untold(ctx context.Context, items []queue.Item) []queue.Item {
	traced := r.Trace.Wanted(items)
	if len(traced) == 0 {
		return nil
	}
	names := make([]string, len(traced))
	for i, item := range traced {
		names[i] = item.ID
	}
	known, err := r.Store.Known(ctx, names)
	if err != nil {
		return nil // Accept reports the error
	}
	return slices.DeleteFunc(traced, func(item queue.Item) bool { return known[item.ID] })
}

// Deliver sends one item to the other side. The queue calls it, and calls it again if it
// cannot know whether the last call succeeded.
func (r *Relay) Deliver(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	deliver, ok := r.parts.handlers[item.Kind]
	if !ok {
		return nil, queue.Permanent("this kind of event is not known to the bridge", event.ErrKind)
	}
	start := time.Now()
	ctx, span := r.Trace.Delivery(ctx, item)
	receipts, err := deliver(ctx, item)
	if err == nil {
		span.End("")
		waited, took := start.Sub(item.Accepted), time.Since(start)
		r.Log.Info("delivered", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "attempts", item.Attempts+1, "waited", waited, "took", took)
		if r.Delivered != nil {
			r.Delivered(item.Kind, waited, took)
		}
		if len(receipts) > 0 {
			r.heard(ids.MXUser(receipts[0].MXSender), false)
		}
	} else {
		span.End(model.Reason(err.Error()))
	}
	return receipts, err
}

// heard reports a message to Heard, unless one of our users sent it.
func (r *Relay) heard(sender ids.MXUser, gaveUp bool) {
	if r.Heard != nil && sender != "" && !r.Names.Owns(sender) {
		r.Heard(sender.Homeserver(), gaveUp)
	}
}
