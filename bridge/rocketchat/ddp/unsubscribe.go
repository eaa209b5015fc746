package ddp

import (
	"context"
	"strconv"
)

// Follow starts a subscription without waiting for it, for frequent events that may
// be missed. A refusal by the server goes unnoticed.
func (c *Conn) Follow(ctx context.Context, stream, event string) error {
	c.mu.Lock()
	c.nextID++
	id := "s" + strconv.Itoa(c.nextID)
	c.mu.Unlock()
	c.remember(event, id)
	return c.send(ctx, frame{Msg: "sub", ID: id, Name: stream, Params: []any{event, map[string]any{"useCollection": false, "args": []any{}}}})
}

// Unsubscribe ends a subscription to an event of any stream. A subscription that
// does not exist, or a connection that has ended, is not an error.
func (c *Conn) Unsubscribe(ctx context.Context, event string) {
	c.mu.Lock()
	id, ok := c.subscribed[event]
	delete(c.subscribed, event)
	c.mu.Unlock()
	if ok {
		_ = c.send(ctx, frame{Msg: "unsub", ID: id})
	}
}

// remember keeps the ID of a subscription for Unsubscribe.
func (c *Conn) remember(event, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subscribed == nil {
		c.subscribed = map[string]string{}
	}
	c.subscribed[event] = id
}
