package rcside

import (
	"context"
	"fmt"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// History implements relay.RocketChat. Messages of puppets are left out: on Matrix
// the bridge has no account that could send them.
func (s *inbox) History(ctx context.Context, room model.RCRoomInfo, last int, since time.Time) ([]queue.Item, error) {
	messages, err := s.client.History(ctx, room.Type, string(room.ID), last, since)
	if err != nil {
		return nil, side(err)
	}
	var items []queue.Item
	for _, m := range messages {
		if m.Type != "" {
			continue
		}
		ours, err := s.ours(ctx, m.User.ID)
		if err != nil {
			return nil, err
		}
		if m.RoomID = string(room.ID); ours {
			continue
		}
		more, err := list(baseID(m), m, event.RCWritten{Message: m})
		if err != nil {
			return nil, err
		}
		if len(m.Reactions) > 0 {
			react, err := list(fmt.Sprintf("%s:react:%d", baseID(m), m.Updated.UnixMilli()), m, event.RCReacted{Message: m})
			if err != nil {
				return nil, err
			}
			more = append(more, react...)
		}
		items = append(items, more...)
	}
	return items, nil
}
