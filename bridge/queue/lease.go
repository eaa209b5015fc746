package queue

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrLost is wrapped by errors of calls refused because the lane now belongs to another process.
// The item is that process's responsibility: it is neither delivered nor settled here.
var ErrLost = errors.New("the lane belongs to another process now")

// ErrAway is wrapped by errors of a backend that does not answer at the moment, and can
// be used again when it does. After any other error a backend has to be reopened.
var ErrAway = errors.New("the database does not answer")

// A Lease is the right of one process to deliver the items of a lane for a limited time.
// The backend extends it while it can, and the database rejects writes whose fencing
// number is not the lane's newest. A nil Lease never ends. Methods are safe for
// concurrent use.
type Lease struct {
	Lane  string
	Fence int64 // grows with each takeover of the lane

	mu    sync.Mutex
	until time.Time // by this process's monotonic clock
	gone  bool
	lost  chan struct{}
}

// NewLease returns a lease that can be relied on until a time on this process's monotonic
// clock, well before it ends in the database.
func NewLease(lane string, fence int64, until time.Time) *Lease {
	return &Lease{Lane: lane, Fence: fence, until: until, lost: make(chan struct{})}
}

// Extend prolongs the lease.
func (l *Lease) Extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

// Lose ends the lease for good, and with it the current deliveries.
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

// Err returns ErrLost if the lease cannot be relied on: it was lost, or this process was
// suspended for longer than it lasts.
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

// under returns a context for a delivery under a lease, which ends when the lease is lost.
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

// Held returns an error that wraps ErrLost if the delivery of a context may send nothing
// more. It is called right before each request to either network: a process that was
// suspended in mid-delivery must not continue after another one has taken over.
func Held(ctx context.Context) error {
	l, _ := ctx.Value(leaseKey{}).(*Lease)
	return l.Err()
}

// Fence returns the fencing number of a context's delivery, 0 without a lease. What a
// process remembers about a lane is void under another number, because another process
// may have sent something in between.
func Fence(ctx context.Context) int64 {
	if l, _ := ctx.Value(leaseKey{}).(*Lease); l != nil {
		return l.Fence
	}
	return 0
}
