package mxside

import (
	"encoding/json"
	"log/slog"

	"appliance/bridge/event"
	"appliance/bridge/ids"
)

// An arrival is a parsed event from a homeserver.
type arrival struct {
	head  event.MXHead
	event event.Event // nil for one that does not cross
}

// arrivals parses events, once. room is given if the events do not name it. Anything
// that is not an event is left out.
func arrivals(log *slog.Logger, raws []json.RawMessage, room ids.MXRoom) []arrival {
	out := make([]arrival, 0, len(raws))
	for _, raw := range raws {
		head, e, err := event.ReadMatrix(raw, room)
		if err != nil {
			log.Debug("an event cannot be read", "mx_room", room, "err", err)
			continue
		}
		out = append(out, arrival{head, e})
	}
	return out
}
