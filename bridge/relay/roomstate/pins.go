package roomstate

import (
	"context"
	"encoding/json"

	"appliance/bridge/ids"
)

// KnownPins returns the last known pins of a Matrix room.
func (s *State) KnownPins(ctx context.Context, room ids.MXRoom) ([]ids.MXEvent, error) {
	known, err := s.Store.Cursor(ctx, pinsCursor(room))
	var list []ids.MXEvent
	_ = json.Unmarshal([]byte(known), &list) // "" at first
	return list, err
}

// KnowPins records the current pins of a Matrix room.
func (s *State) KnowPins(ctx context.Context, room ids.MXRoom, list []ids.MXEvent) error {
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return s.Store.MoveCursor(ctx, pinsCursor(room), string(data))
}

// pinsCursor names the cursor that holds the last known pins of a Matrix room, so that
// only later changes are relayed.
func pinsCursor(room ids.MXRoom) string { return "pins " + string(room) }
