// Package relay joins the two sides. It owns the interfaces that the sides and
// the store implement, and the decisions that concern both: what becomes of an
// event, who speaks for whom, which rooms are one conversation, how a delivery
// whose outcome is unknown is settled, and what is our own echo. The sides speak
// to their networks and know nothing of each other; the queue decides when.
//
// Events flow in through Accept, which stores them, and out through the queue,
// which calls Deliver.
package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// Relay carries events between the sides. Its methods are safe for concurrent
// use.
type Relay struct {
	Store Store
	RC    RocketChat
	MX    Matrix
	Names ids.Namespace
	Site  string             // Rocket.Chat's address as people see it
	Live  func() config.Live // the configuration in force; a delivery reads it once
	Log   *slog.Logger
	// Delivered is told of each delivery: how long the item waited to be tried
	// and how long the last attempt took. nil is allowed.
	Delivered func(kind string, waited, took time.Duration)

	// Typed is told of a command that reached Rocket.Chat as a message. nil is
	// allowed.
	Typed func(ctx context.Context, caller Caller, name, params string)

	// ReconcileEvery is between two looks at all rooms; 0 is the usual.
	ReconcileEvery time.Duration

	worker queue.Worker
	files  queue.Worker // for files that follow their messages

	people sync.Map // *sync.Mutex by ghost or puppet: one creates, the others wait
	joined sync.Map // struct{} by membership: what we know to be joined
	spoke  sync.Map // time.Time by Matrix room: when a message was last sent there
	ready  sync.Once
	signs  signs
	gate   gate
	chosen chan struct{} // has an element when the public channels may be other ones
	audit  audit

	transfers transfers
}

// Run delivers what is stored until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	r.init()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.worker.Run(ctx) })
	g.Go(func() error { return r.files.Run(ctx) })
	g.Go(func() error { return r.runSigns(ctx) })
	g.Go(func() error { return r.reconcileAll(ctx) })
	g.Go(func() error { return r.runPublic(ctx) })
	g.Go(func() error { return r.auditPuppets(ctx) })
	return g.Wait()
}

// Wake makes the relay look for work now, for when Live has changed.
func (r *Relay) Wake() {
	r.init()
	r.worker.Wake()
	r.files.Wake()
}

// Follow makes the sides read what Live says now is to be read, and Matrix see the
// channels that are chosen now.
func (r *Relay) Follow() {
	r.init()
	r.RC.Follow()
	r.choose()
}

const (
	// lanes is how many portals and directions are served at once. Each waits for
	// the network most of the time.
	lanes = 64
	// fileLanes is how many files that follow their messages are carried at once.
	fileLanes = 16
)

func (r *Relay) init() {
	r.ready.Do(func() {
		r.chosen = make(chan struct{}, 1)
		for w, class := range map[*queue.Worker]queue.Class{&r.worker: queue.Messages, &r.files: queue.Files} {
			w.Backend = r.Store
			w.Class = class
			w.Deliver = r.Deliver
			w.GaveUp = r.tellSender
			w.Paused = func() bool { return !r.Live().Enabled }
			w.Log = r.Log
		}
		r.worker.Lanes, r.files.Lanes = lanes, fileLanes
		r.signs.init()
		r.transfers.init()
	})
}

// Accept stores items and cursors in one transaction. Only when it has returned
// nil may a side acknowledge them to its network. Handing over an event twice is
// fine.
func (r *Relay) Accept(ctx context.Context, items []queue.Item, cursors map[string]string) error {
	n, err := r.Store.Accept(ctx, time.Now(), items, cursors)
	if err != nil {
		return err
	}
	if n > 0 {
		r.Wake()
	}
	return nil
}

// Deliver sends one item to the other side. The queue calls it, and calls it
// again when it cannot know whether the last call arrived.
func (r *Relay) Deliver(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	start := time.Now()
	deliver, ok := r.handlers()[item.Kind]
	if !ok {
		return nil, queue.Permanent("this kind of event is not known to the bridge", errUnknownKind)
	}
	receipts, err := deliver(ctx, item)
	if err == nil {
		waited, took := start.Sub(item.Accepted), time.Since(start)
		r.Log.Info("delivered", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "attempts", item.Attempts+1, "waited", waited, "took", took)
		if r.Delivered != nil {
			r.Delivered(item.Kind, waited, took)
		}
	}
	return receipts, err
}
