package rcside

import (
	"bytes"
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Profile implements relay.RocketChat.
func (s *Side) Profile(ctx context.Context, user ids.RCUser) (model.RCProfile, bool, error) {
	u, ok, err := s.Client.UserByID(ctx, string(user))
	return model.RCProfile{RCPerson: personOf(u), Active: u.Active, Avatar: u.AvatarETag, Roles: u.Roles}, ok, side(err)
}

// Avatar implements relay.RocketChat.
func (s *Side) Avatar(ctx context.Context, username string, limit int64) ([]byte, error) {
	data, err := s.Client.Avatar(ctx, username, limit)
	if err != nil {
		err = mediaError(err)
	}
	return data, err
}

// RoomAvatar implements relay.RocketChat.
func (s *Side) RoomAvatar(ctx context.Context, room ids.RCRoom, limit int64) ([]byte, error) {
	data, err := s.Client.RoomAvatar(ctx, string(room), limit)
	if err != nil {
		err = mediaError(err)
	}
	return data, err
}

// SetAvatar implements relay.RocketChat.
func (s *Side) SetAvatar(ctx context.Context, p model.Puppet, data []byte, contentType string) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		if len(data) == 0 {
			return c.ResetAvatar(ctx)
		}
		return c.SetAvatar(ctx, rocketchat.Media{Name: "avatar", Type: contentType, Size: int64(len(data)), Body: bytes.NewReader(data)})
	})
}
