package roomstate

import (
	"context"
	"encoding/json"

	"appliance/bridge/ids"
)

// KnownPins returns what was last known to be pinned in a Matrix room.
func (s *State) KnownPins(ctx context.Context, room ids.MXRoom) ([]ids.MXEvent, error) {
	known, err := s.Store.Cursor(ctx, pinsCursor(room))
	var list []ids.MXEvent
	_ = json.Unmarshal([]byte(known), &list) // "" at first
	return list, err
}

// KnowPins notes what is pinned in a Matrix room now.
func (s *State) KnowPins(ctx context.Context, room ids.MXRoom, list []ids.MXEvent) error {
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return s.Store.MoveCursor(ctx, pinsCursor(room), string(data))
}

// pinsCursor names the cursor that holds what was last known to be pinned in a Matrix
// room, so that only what has changed since crosses.
func pinsCursor(room ids.MXRoom) string { return "pins " + string(room) }
