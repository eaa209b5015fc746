package model_test

import (
	"context"
	"testing"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Of two handlers for one kind of event, one would never be called.
func TestTwoHandlersForOneKindAreRefused(t *testing.T) {
	entry := model.OnSilent(func(context.Context, queue.Item, event.RCDeleted) error { return nil })
	if table := model.Handlers(entry); len(table) != 1 {
		t.Fatalf("one entry makes a table of %d", len(table))
	}
	defer func() {
		if recover() == nil {
			t.Error("two handlers for one kind are taken")
		}
	}()
	model.Handlers(entry, entry)
}
