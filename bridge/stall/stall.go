// Package stall ends transfers of files that stand still: a connection that is
// open and brings nothing would otherwise be waited for without end. It knows
// nothing of what is transferred, or where; both sides of the bridge use it.
package stall

import (
	"context"
	"time"
)

// A Watch ends a transfer when nothing moves for a while. Methods are safe for
// concurrent use.
type Watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	after  time.Duration
}

// New returns a context for a transfer that ends, with cause, when Moved is not
// called for that long, and the watch over it. Stop must be called in the end.
func New(ctx context.Context, after time.Duration, cause error) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &Watch{ctx: ctx, cancel: cancel, after: after, timer: time.AfterFunc(after, func() { cancel(cause) })}
}

// Moved says that something has come or gone, or is waited for from now on.
func (w *Watch) Moved() { w.timer.Reset(w.after) }

// Rest stops the watch until Moved is called: who takes what has come may take
// its time.
func (w *Watch) Rest() { w.timer.Stop() }

// Stop ends the watch and the context.
func (w *Watch) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// Cause returns why the transfer was ended from here or by the caller's context,
// nil when it was not.
func (w *Watch) Cause() error { return context.Cause(w.ctx) }
