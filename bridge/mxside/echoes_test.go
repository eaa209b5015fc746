package mxside

import (
	"context"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// linkedMeanwhile is a store that learns of a link while it is queried for it.
type linkedMeanwhile struct {
	Store
	linked map[ids.MXEvent]bool
	event  ids.MXEvent
}

func (s *linkedMeanwhile) EventsLinked(_ context.Context, events []ids.MXEvent) (map[ids.MXEvent]bool, error) {
	out := map[ids.MXEvent]bool{}
	for _, id := range events {
		out[id] = s.linked[id]
	}
	return out, nil
}

func (s *linkedMeanwhile) EventLinked(context.Context, ids.RCMessage) (bool, error) {
	if s.event != "" {
		s.linked[s.event] = true
	}
	return true, nil
}

func (*linkedMeanwhile) PortalByMX(_ context.Context, room ids.MXRoom) (model.Portal, bool, error) {
	return model.Portal{MXRoom: room, RCRoom: "room"}, true, nil
}

// After an outage of more than a minute every event of ours arrives late, possibly while
// its link is being stored. Only one that still has no link then is examined.
func TestALateEventThatIsLinkedMeanwhileIsNoCopy(t *testing.T) {
	t.Parallel()
	late := []echo{{event: "$one", room: "!room", message: "m", made: time.Now().Add(-2 * time.Minute).UnixMilli()}}
	for _, c := range []struct {
		linked ids.MXEvent
		items  int
	}{{"$one", 0}, {"$other", 1}} {
		e := &echoes{store: &linkedMeanwhile{linked: map[ids.MXEvent]bool{}, event: c.linked}}
		items, err := e.late(t.Context(), late)
		if err != nil || len(items) != c.items {
			t.Errorf("linked %s: %d items, %v; want %d", c.linked, len(items), err, c.items)
		}
	}
}
