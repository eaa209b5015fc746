package console

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keptLines is how many log lines a Tail keeps, and maxLine the maximum length of one
	// in bytes: together about a megabyte at most.
	keptLines = 1000
	maxLine   = 1000
)

// A Line is a line of the log.
type Line struct {
	Number  uint64 // counts from 1
	Time    time.Time
	Level   slog.Level
	Message string
	Details string // "key=value key=value"
	rooms   string // the rooms in Details
}

// A Tail keeps the newest log lines in memory for viewing. Methods are safe for
// concurrent use; the zero value is ready.
type Tail struct {
	last  atomic.Uint64 // number of the newest line
	mu    sync.Mutex
	lines [keptLines]Line
}

// Handler returns a handler that keeps every record and passes it on to next.
func (t *Tail) Handler(next slog.Handler) slog.Handler { return &tailed{next: next, tail: t} }

// add stores a line in place of the oldest one.
func (t *Tail) add(l Line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.Number = t.last.Load() + 1
	t.lines[l.Number%keptLines] = l
	t.last.Store(l.Number)
}

// After returns the lines after number, at level or above and with a room whose
// identifier contains room: the newest limit of them, oldest first.
func (t *Tail) After(number uint64, level slog.Level, room string, limit int) []Line {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Line
	for n := t.last.Load(); n > number && n > 0 && len(out) < limit; n-- {
		l := t.lines[n%keptLines]
		if l.Number != n {
			break // no longer kept
		}
		if l.Level >= level && strings.Contains(l.rooms, room) {
			out = append(out, l)
		}
	}
	slices.Reverse(out)
	return out
}

// tailed is a handler that records into a Tail.
type tailed struct {
	next    slog.Handler
	tail    *Tail
	prefix  string // of the keys, from the groups
	details string
	rooms   string
}

// Enabled implements slog.Handler.
func (h *tailed) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *tailed) Handle(ctx context.Context, r slog.Record) error {
	var details, rooms strings.Builder
	details.WriteString(h.details)
	rooms.WriteString(h.rooms)
	r.Attrs(func(a slog.Attr) bool { appendAttr(&details, &rooms, h.prefix, a); return true })
	h.tail.add(Line{
		Time: r.Time, Level: r.Level, Message: strings.Clone(shortened(r.Message)), Details: details.String(), rooms: rooms.String(),
	})
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *tailed) WithAttrs(attrs []slog.Attr) slog.Handler {
	var details, rooms strings.Builder
	details.WriteString(h.details)
	rooms.WriteString(h.rooms)
	for _, a := range attrs {
		appendAttr(&details, &rooms, h.prefix, a)
	}
	next := *h
	next.next, next.details, next.rooms = h.next.WithAttrs(attrs), details.String(), rooms.String()
	return &next
}

// WithGroup implements slog.Handler.
func (h *tailed) WithGroup(name string) slog.Handler {
	next := *h
	next.next, next.prefix = h.next.WithGroup(name), h.prefix+name+"."
	return &next
}

// appendAttr writes "key=value", up to the maximum length of a line.
func appendAttr(details, rooms *strings.Builder, prefix string, a slog.Attr) {
	if a.Equal(slog.Attr{}) || details.Len() >= maxLine {
		return
	}
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, below := range value.Group() {
			appendAttr(details, rooms, prefix, below)
		}
		return
	}
	text := textOf(value)
	if details.Len() > 0 {
		details.WriteByte(' ')
	}
	details.WriteString(prefix + a.Key + "=" + text)
	switch a.Key {
	case "rc_room", "mx_room", "room", "lane", "alias":
		rooms.WriteString(text + " ")
	}
}

// textOf returns a value as text. A value that cannot be printed does no harm.
func textOf(v slog.Value) (text string) {
	defer func() {
		if recover() != nil {
			text = "(cannot be shown)"
		}
	}()
	return shortened(v.String())
}

func shortened(text string) string {
	if len(text) <= maxLine/2 {
		return text
	}
	return strings.ToValidUTF8(text[:maxLine/2], "") + "…"
}
