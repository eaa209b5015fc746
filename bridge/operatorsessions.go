package bridge

import (
	"context"
	"time"

	"appliance/bridge/console"
	"appliance/bridge/store"
)

// consoleSessions stores the console's sessions in the database, which all processes of
// the bridge share.
type consoleSessions struct{ *service }

// Begin implements console.Sessions.
func (c consoleSessions) Begin(ctx context.Context, s console.Session, beganAfter, seenAfter time.Time, most int) error {
	return c.store.BeginConsoleSession(ctx, store.ConsoleSession(s), beganAfter, seenAfter, most)
}

// Find implements console.Sessions.
func (c consoleSessions) Find(ctx context.Context, key string) (console.Session, bool, error) {
	s, ok, err := c.store.ConsoleSession(ctx, key)
	return console.Session(s), ok, err
}

// All implements console.Sessions.
func (c consoleSessions) All(ctx context.Context) ([]console.Session, error) {
	list, err := c.store.ConsoleSessions(ctx)
	out := make([]console.Session, len(list))
	for i, s := range list {
		out[i] = console.Session(s)
	}
	return out, err
}

// Seen implements console.Sessions.
func (c consoleSessions) Seen(ctx context.Context, key string, at time.Time) error {
	return c.store.ConsoleSessionSeen(ctx, key, at)
}

// Asked implements console.Sessions.
func (c consoleSessions) Asked(ctx context.Context, key string, at time.Time) error {
	return c.store.ConsoleSessionAsked(ctx, key, at)
}

// End implements console.Sessions.
func (c consoleSessions) End(ctx context.Context, key string) error {
	return c.store.EndConsoleSession(ctx, key)
}
