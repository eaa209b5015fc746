package ddp

import (
	"context"
	"time"

	"appliance/bridge/secret"
)

// DialWith is Dial with the given times.
func DialWith(ctx context.Context, base string, token secret.String, handle func(Event), dialing, ping, silent time.Duration) (*Conn, error) {
	return dial(ctx, base, token, handle, times{dialing, ping, silent})
}

// Waiting returns how many replies the connection is waiting for.
func (c *Conn) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}
