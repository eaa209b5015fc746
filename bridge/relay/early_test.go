package relay_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// without is a homeserver that does not have a message yet.
type without struct{ *matrix }

func (without) Event(context.Context, ids.MXRoom, ids.MXUser, ids.MXEvent) (json.RawMessage, error) {
	return nil, model.ErrNotFound
}

// A homeserver may push a deletion, an edit or a reaction before the message that it is for.
// The room goes on, and the change is applied to the message when it arrives.
func TestADeletionComesBeforeItsMessage(t *testing.T) {
	const message = "$late"
	for name, c := range map[string]struct {
		kind    string
		content map[string]any
		done    string // to the message
	}{
		"deletion": {event.KindMXRedact, map[string]any{"redacts": message}, "deleted "},
		"edit":     {event.KindMXMessage, edit(message, "corrected"), "bob_far.org edits to corrected"},
		"reaction": {event.KindMXReact, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": message, "key": "👍️"}}, "bob_far.org reacts :thumbsup: true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.MX = without{b.mx}
			b.run()
			b.says(c.kind, c.content)
			b.says(event.KindMXMessage, text("another"))
			b.untilRC("bob_far.org says another")
			payload, _ := json.Marshal(map[string]any{"event_id": message, "type": "m.room.message", "sender": bob, "room_id": mxRoom, "content": text("late")})
			b.must(b.Accept(t.Context(), []queue.Item{{ID: message, Lane: model.MXLane(mxRoom), Kind: event.KindMXMessage, Payload: payload}}, nil))
			until(t, c.done, b.rc.log, func(got []string) bool {
				return len(got) == 3 && got[1] == "bob_far.org says late" && strings.HasPrefix(got[2], c.done)
			})
		})
	}
}
