// Package sim is a simulator of Rocket.Chat 7.2, 8.3 and 8.6: what a stranger would
// build after reading its documentation and being told about its habits. It is not
// Rocket.Chat, contains none of its code, and nothing that passes against it has
// been shown to work with the real server.
//
// One Engine is one workspace. Requests come in over HTTP (REST) and websockets
// (DDP), run one at a time under one lock, change documents in collections, and
// queue events. Changes go to an append-only journal; responses and events are
// sent only after the journal has been synced, so killing the process at any moment
// loses nothing that was answered.
//
// What it leaves out on purpose: federation, livechat, OAuth, LDAP, end-to-end
// encryption, apps, importers and incoming webhooks.
package sim

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Options are fixed when an Engine is created.
type Options struct {
	// Version is the Rocket.Chat to simulate, one of Versions. Empty: DefaultVersion.
	Version string
	// Env looks up the environment variables that Rocket.Chat would read. Nil: none.
	Env func(string) string
	// Environ lists all of them as KEY=value, for those whose names vary.
	Environ []string
	// Data is the journal; empty keeps everything in memory.
	Data string
	// Rude is nil for a polite server.
	Rude *Rude
	Log  *slog.Logger
	// Record is a file to which one request and response of each form is appended,
	// for Rocket.Chat's own packages to judge. Empty: none.
	Record string
	// OnRequest, if not nil, sees every REST request first; true: it answered.
	OnRequest func(http.ResponseWriter, *http.Request) bool
}

// An Engine is one simulated workspace. Create it with New, serve it as an
// http.Handler and Close it.
type Engine struct {
	opts    Options
	rel     release
	started time.Time // built-in documents have not changed since
	env     env
	log     *slog.Logger

	mu      sync.Mutex // guards everything below
	data    *store
	ops     []op       // changes of the running request
	pending []delivery // events of the running request
	hooks   []hookCall // webhooks of the running request
	streams streams
	limits  limiter
	codes   remembered2FA
	counts  map[string]int
	planned map[string][]plan // failures that a test has arranged
	conns   map[*conn]struct{}
	changed chan struct{} // closed and replaced whenever something changed

	journal *journal
	record  *recorder
	blobs   *blobs
	out     *dispatcher
	wg      sync.WaitGroup // the engine's own goroutines
	serving sync.WaitGroup // requests and websockets
	limited bool           // guarded by mu: the workspace is restricted (facts 2.7)
	seats   int            // guarded by mu: seats of the licence, 0 for no licence (facts 3.4)
	closed  bool           // guarded by mu: no more requests and websockets
	ctx     context.Context
	stop    context.CancelFunc
}

// New loads the journal, applies the environment and creates what a fresh
// Rocket.Chat has: #general, rocket.cat and the first administrator.
func New(o Options) (*Engine, error) {
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	rel, err := releaseOf(o.Version)
	if err != nil {
		return nil, err
	}
	e := &Engine{opts: o, rel: rel, started: time.Now().UTC().Truncate(time.Millisecond), log: o.Log, env: readEnv(o), data: newStore(), streams: streams{}, limits: limiter{},
		codes: remembered2FA{}, counts: map[string]int{}, planned: map[string][]plan{}, conns: map[*conn]struct{}{}, changed: make(chan struct{})}
	if e.record, err = openRecorder(o.Record); err != nil {
		return nil, err
	}
	j, err := openJournal(o.Data, e.data)
	if err != nil {
		return nil, err
	}
	e.journal, e.blobs = j, openBlobs(o.Data)
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.out = newDispatcher(e.journal, o.Rude)
	e.wg.Go(func() { e.out.run(e.ctx) })
	e.wg.Go(func() { e.journal.run() })
	var seedErr error
	if err := e.do(func() { seedErr = e.seed() }); err != nil || seedErr != nil {
		e.Close()
		return nil, fmt.Errorf("set up: %w", firstError(err, seedErr))
	}
	return e, nil
}

// Close drops every connection, waits for running requests, and returns when the
// journal is on disk.
func (e *Engine) Close() error {
	e.look(func() { e.closed = true })
	e.DropConnections()
	e.stop()
	e.serving.Wait()
	e.out.close()
	err := e.journal.close()
	e.wg.Wait()
	e.record.close()
	return err
}

// enter registers a request or websocket; false when the engine is closed.
func (e *Engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.serving.Add(1)
	return true
}

// Idle waits until no websocket is open.
func (e *Engine) Idle(ctx context.Context) error {
	return e.Wait(ctx, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.conns) == 0
	})
}

// do runs f exclusively, then waits until its changes are on disk.
func (e *Engine) do(f func()) error {
	return e.journal.wait(e.locked(f))
}

// locked runs f exclusively and returns the journal position that covers its changes.
func (e *Engine) locked(f func()) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.signal()
	var seq uint64
	func() {
		defer func() { seq = e.commit() }() // even when f panics: its changes stand
		f()
	}()
	return seq
}

// commit passes the changes of the running request to the journal and its events to
// the dispatcher, in one order.
func (e *Engine) commit() uint64 {
	seq := e.journal.append(e.ops)
	e.out.push(seq, e.pending)
	e.startHooks(seq)
	e.ops, e.pending = nil, nil
	return seq
}

func (e *Engine) signal() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// now returns the time in the resolution of a JavaScript Date.
func (e *Engine) now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
