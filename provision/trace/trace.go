// Package trace carries the log of what a command does through a context, for an operator
// who asked to see it. Otherwise nothing is written.
package trace

import (
	"context"
	"log/slog"
)

type key struct{}

var silent = slog.New(slog.DiscardHandler)

// With returns a context whose Log is log.
func With(ctx context.Context, log *slog.Logger) context.Context {
	return context.WithValue(ctx, key{}, log)
}

// Log returns the log of a context, or one that discards everything; it is never nil.
// Callers must not write secrets to it.
func Log(ctx context.Context) *slog.Logger {
	if log, ok := ctx.Value(key{}).(*slog.Logger); ok {
		return log
	}
	return silent
}

// On reports whether anybody reads the log of a context.
func On(ctx context.Context) bool { return Log(ctx).Enabled(ctx, slog.LevelDebug) }
