package rcside

import (
	"context"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Channels implements relay.RocketChat.
func (s *Side) Channels(ctx context.Context, each func(model.RCRoomInfo) (more bool)) error {
	return side(s.Client.Channels(ctx, func(rooms []rocketchat.Room) bool {
		for _, r := range rooms {
			if r.Type == rocketchat.Channel && !each(infoOf(r)) {
				return false
			}
		}
		return true
	}))
}

// Channel implements relay.RocketChat.
func (s *Side) Channel(ctx context.Context, name string) (model.RCRoomInfo, bool, error) {
	r, ok, err := s.Client.RoomByName(ctx, name)
	if err != nil || !ok || r.Type != rocketchat.Channel {
		return model.RCRoomInfo{}, false, side(err)
	}
	return infoOf(r), true, nil
}
