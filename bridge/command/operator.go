package command

import (
	"context"
	"fmt"
	"strings"
)

// Operator is what administrators can see and do across the whole bridge, as in the console.
type Operator interface {
	// State describes whether everything is connected, and what is waiting.
	State(ctx context.Context) (string, error)
	// Rooms describes the newest rooms whose names or identifiers contain words.
	Rooms(ctx context.Context, words string) (string, error)
	// Queue describes the waiting items and the dead letters, without their content.
	Queue(ctx context.Context) (string, error)
	// Retry puts dead letters back into the queue, those with these IDs or, without any,
	// all; it returns how many.
	Retry(ctx context.Context, ids []string) (int, error)
}

// mayOperate admits only administrators of the workspace.
func mayOperate(r request) error {
	if !r.user.HasRole("admin") {
		return sayf("only an administrator may do that")
	}
	return nil
}

// state is what /bridge status tells an administrator in addition to the room, "" for others.
func (c *Commands) state(ctx context.Context, r request) (string, error) {
	if mayOperate(r) != nil {
		return "", nil
	}
	return c.Operator.State(ctx)
}

// list is /bridge rooms.
func (c *Commands) list(ctx context.Context, r request, words []string) error {
	if err := mayOperate(r); err != nil {
		return err
	}
	text, err := c.Operator.Rooms(ctx, strings.Join(words, " "))
	if err != nil {
		return err
	}
	return c.tell(ctx, r, text)
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
		return sayf("name items that /bridge queue lists, or all of them: /bridge retry all")
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
		return c.tell(ctx, r, "1 item is queued again, last in its room.")
	}
	return c.tell(ctx, r, fmt.Sprintf("%d items are queued again, last in their rooms.", n))
}
