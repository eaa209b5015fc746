package queue

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrLost is wrapped by what is refused because the lane belongs to another process
// now. The item is that process's business: it is neither delivered nor settled here.
var ErrLost = errors.New("the lane belongs to another process now")

// ErrAway is wrapped by the errors of a backend that does not answer now and can be
// used again when it does. After any other error a backend has to be opened again.
var ErrAway = errors.New("the database does not answer")

// A Lease is the right of one process to deliver the items of a lane for a limited
// time. The backend extends it for as long as it can, and the database refuses what is
// written under a fencing number that is not the lane's newest. A nil Lease does not
// end. Methods are safe for concurrent use.
type Lease struct {
	Lane  string
	Fence int64 // grows with each take-over of the lane

	mu    sync.Mutex
	until time.Time // by this process's monotonic clock
	gone  bool
	lost  chan struct{}
}

// NewLease returns a lease that may be relied on until a time of this process's
// monotonic clock, which is well before it ends in the database.
func NewLease(lane string, fence int64, until time.Time) *Lease {
	return &Lease{Lane: lane, Fence: fence, until: until, lost: make(chan struct{})}
}

// Extend makes the lease hold for longer.
func (l *Lease) Extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

// Lose ends the lease for good, and with it the deliveries under way.
func (l *Lease) Lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone {
		l.gone = true
		close(l.lost)
	}
}

// Gone reports whether the lease was lost for good.
func (l *Lease) Gone() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// Err returns ErrLost when the lease may not be relied on: it is lost, or this process
// was stopped for longer than it lasts.
func (l *Lease) Err() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone || time.Now().After(l.until) {
		return ErrLost
	}
	return nil
}

type leaseKey struct{}

// under returns a context for a delivery under a lease, which ends when that is lost.
func under(ctx context.Context, l *Lease) (context.Context, context.CancelFunc) {
	if l == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, leaseKey{}, l))
	go func() {
		select {
		case <-l.lost:
			cancel(ErrLost)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// Held returns an error that wraps ErrLost when the delivery that a context belongs to
// may send nothing any more. It is asked right before each request to either network: a
// process that was stopped in mid-delivery must not go on where another one has taken
// over.
func Held(ctx context.Context) error {
	l, _ := ctx.Value(leaseKey{}).(*Lease)
	return l.Err()
}

// Fence returns the fencing number that the delivery of a context is under, 0 without a
// lease. What a process remembers of a lane is worth nothing under another number:
// another process may have sent something in between.
func Fence(ctx context.Context) int64 {
	if l, _ := ctx.Value(leaseKey{}).(*Lease); l != nil {
		return l.Fence
	}
	return 0
}
