package rcside

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

// profile takes that somebody has changed. Frames of a websocket must not be held
// up, so the work is done beside; what is lost with the connection comes with the
// next message or the next reconcile.
func (s *Side) profile(e ddp.Event) {
	var about struct {
		ID       string `json:"_id"`
		UserID   string `json:"userId"`
		Username string `json:"username"`
	}
	if json.Unmarshal(e.Args[0], &about) != nil {
		return
	}
	select {
	case s.changed <- changedPerson{id: about.ID + about.UserID, username: about.Username}:
	default:
		s.Log.Warn("more people change at once than can be followed")
	}
}

// changedPerson is somebody who has changed, known by either.
type changedPerson struct{ id, username string }

// followPeople hands over who has changed until ctx ends.
func (s *Side) followPeople(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.changed:
			one, cancel := context.WithTimeout(ctx, 10*time.Second)
			if err := s.personChanged(one, p); err != nil && ctx.Err() == nil {
				s.Log.Warn("a change of a person was not followed", "err", err)
			}
			cancel()
		}
	}
}

func (s *Side) personChanged(ctx context.Context, p changedPerson) error {
	if p.id == "" {
		u, ok, err := s.Client.UserByName(ctx, p.username)
		if err != nil || !ok {
			return err
		}
		p.id = u.ID
	}
	return s.Signs.PersonChanged(ctx, ids.RCUser(p.id))
}

// Profile implements relay.RocketChat.
func (s *Side) Profile(ctx context.Context, user ids.RCUser) (relay.RCProfile, bool, error) {
	u, ok, err := s.Client.UserByID(ctx, string(user))
	return relay.RCProfile{RCPerson: personOf(u), Active: u.Active, Avatar: u.AvatarETag, Roles: u.Roles}, ok, side(err)
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
func (s *Side) SetAvatar(ctx context.Context, p relay.Puppet, data []byte, contentType string) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		if len(data) == 0 {
			return c.ResetAvatar(ctx)
		}
		return c.SetAvatar(ctx, rocketchat.Media{Name: "avatar", Type: contentType, Size: int64(len(data)), Body: bytes.NewReader(data)})
	})
}
