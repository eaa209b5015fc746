package ephemeral

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	workers     = 4
	maxPending  = 1000            // further calls are dropped
	callTimeout = 5 * time.Second // for one call
)

// calls is a queue of calls that are useless when late. Only the newest call
// with a key is kept.
type calls struct {
	mu      sync.Mutex
	waiting map[string]func(context.Context) error
	order   []string
	more    chan struct{}
}

func newCalls() *calls {
	return &calls{waiting: map[string]func(context.Context) error{}, more: make(chan struct{}, workers)}
}

// put adds a call.
func (c *calls) put(key string, call func(context.Context) error) {
	c.mu.Lock()
	_, old := c.waiting[key]
	if old || len(c.order) < maxPending {
		c.waiting[key] = call
		if !old {
			c.order = append(c.order, key)
		}
	}
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// take returns the oldest call.
func (c *calls) take() (func(context.Context) error, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) == 0 {
		return nil, false
	}
	key := c.order[0]
	c.order = c.order[1:]
	call := c.waiting[key]
	delete(c.waiting, key)
	return call, true
}

// run makes the calls until ctx ends.
func (c *calls) run(ctx context.Context, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.more:
		}
		for call, ok := c.take(); ok; call, ok = c.take() {
			one, cancel := context.WithTimeout(ctx, callTimeout)
			if err := call(one); err != nil && ctx.Err() == nil {
				log.Debug("an ephemeral event was not shown", "err", err)
			}
			cancel()
		}
	}
}
