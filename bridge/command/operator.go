package command

import (
	"context"
	"fmt"
)

// Operator is what administrators do with the queue of the whole bridge.
type Operator interface {
	// Queue says in words what is waiting and what was given up, without what it says.
	Queue(ctx context.Context) (string, error)
	// Retry makes dead letters wait again, those with these IDs or, without any, all; it
	// returns how many.
	Retry(ctx context.Context, ids []string) (int, error)
}

// mayOperate lets administrators of the workspace through.
func mayOperate(r request) error {
	if !r.user.HasRole("admin") {
		return sayf("only an administrator may do that")
	}
	return nil
}

// queue is /bridge queue.
func (c *Commands) queue(ctx context.Context, r request) error {
	if err := mayOperate(r); err != nil {
		return err
	}
	text, err := c.Operator.Queue(ctx)
	if err != nil {
		return err
	}
	return c.tell(ctx, r, text)
}

// retry is /bridge retry.
func (c *Commands) retry(ctx context.Context, r request, words []string) error {
	if err := mayOperate(r); err != nil {
		return err
	}
	if len(words) == 0 {
		return sayf("this needs the items that /bridge queue lists, or all: /bridge retry all")
	}
	if len(words) == 1 && words[0] == "all" {
		words = nil
	}
	n, err := c.Operator.Retry(ctx, words)
	if err != nil {
		return err
	}
	c.Log.Info("dead letters were retried by a command", "user", r.user.ID, "changed", n)
	if n == 1 {
		return c.tell(ctx, r, "1 item waits again, as the last of its room.")
	}
	return c.tell(ctx, r, fmt.Sprintf("%d items wait again, as the last of their rooms.", n))
}
