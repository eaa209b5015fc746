// Package stall ends file transfers that have stalled: an open connection that delivers
// nothing would otherwise be waited for forever. It does not know what is transferred, or
// where to; both sides of the bridge use it.
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

// New returns a context for a transfer that ends, with cause, if Moved is not called for
// the duration after, and the watch over it. Stop must be called at the end.
func New(ctx context.Context, after time.Duration, cause error) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &Watch{ctx: ctx, cancel: cancel, after: after, timer: time.AfterFunc(after, func() { cancel(cause) })}
}

// Moved reports that data has arrived or left, or is awaited from now on.
func (w *Watch) Moved() { w.timer.Reset(w.after) }

// Rest stops the watch until Moved is called: the receiver of the data may take its time.
func (w *Watch) Rest() { w.timer.Stop() }

// Stop ends the watch and the context.
func (w *Watch) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// Cause returns why the transfer was ended by this watch or by the caller's context, or
// nil if it was not.
func (w *Watch) Cause() error { return context.Cause(w.ctx) }
