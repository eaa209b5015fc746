package model

import (
	"context"
	"errors"

	"appliance/bridge/event"
	"appliance/bridge/queue"
)

// A Handler delivers one item to the other side. The receipts describe the result there.
// It may be called again for the same item if the outcome of the last call is unknown.
type Handler func(ctx context.Context, item queue.Item) ([]queue.Receipt, error)

// An Entry is a handler with the kind of event that it handles.
type Entry struct {
	Kind    string
	Handler Handler
}

// On returns the entry for a function that delivers one type of event.
func On[E event.Event](deliver func(ctx context.Context, item queue.Item, e E) ([]queue.Receipt, error)) Entry {
	var kind E
	return Entry{kind.Kind(), func(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
		e, err := read[E](item)
		if err != nil {
			return nil, err
		}
		return deliver(ctx, item, e)
	}}
}

// OnSilent is On for a delivery that leaves no message behind.
func OnSilent[E event.Event](deliver func(ctx context.Context, item queue.Item, e E) error) Entry {
	return On(func(ctx context.Context, item queue.Item, e E) ([]queue.Receipt, error) {
		return nil, deliver(ctx, item, e)
	})
}

// Handlers builds a table from entries. Two entries for one kind are a programming error,
// which panics before anything is delivered.
func Handlers(entries ...Entry) map[string]Handler {
	table := make(map[string]Handler, len(entries))
	for _, e := range entries {
		if table[e.Kind] != nil {
			panic("two handlers for " + e.Kind)
		}
		table[e.Kind] = e.Handler
	}
	return table
}

var errType = errors.New("the item holds an event of another type")

// read decodes the event of an item. An item that cannot be decoded becomes a dead letter.
func read[E event.Event](item queue.Item) (e E, err error) {
	in, err := event.Decode(item.Kind, item.Payload)
	if err != nil {
		return e, queue.Permanent("it could not be read", err)
	}
	e, ok := in.(E)
	if !ok {
		return e, queue.Permanent("it could not be read", errType)
	}
	return e, nil
}

// Accept stores items and cursors in one transaction and triggers their delivery. Passing
// an item twice is harmless.
type Accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error
