package relay

import (
	"slices"
	"testing"

	"appliance/bridge/event"
)

// Every kind of event has a handler, and every handler has a kind: an event without one
// would become a dead letter while the bridge runs. Package event tests that each kind
// has an example of its stored form, and a row in the table of features.
func TestEveryKindHasAHandler(t *testing.T) {
	kinds, table := event.Kinds(), new(Relay).wire().handlers
	if len(kinds) < 20 {
		t.Fatalf("found %d kinds only", len(kinds))
	}
	for _, kind := range kinds {
		if table[kind] == nil {
			t.Errorf("%s has no handler", kind)
		}
	}
	for kind := range table {
		if !slices.Contains(kinds, kind) {
			t.Errorf("the handler of %s is for no kind of event", kind)
		}
	}
}
