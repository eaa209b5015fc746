package rcside

import (
	"context"
	"fmt"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Change implements relay.RocketChat. A name that another room has gets a number.
func (s *Side) Change(ctx context.Context, p model.Portal, c model.RCRoomChange) error {
	if c.Title != nil {
		if err := s.rename(ctx, p, *c.Title); err != nil {
			return err
		}
	}
	change := rocketchat.RoomChange{Topic: c.Topic, ReadOnly: c.ReadOnly}
	if c.Avatar != nil {
		uri := rocketchat.DataURI(c.AvatarType, c.Avatar)
		change.Avatar = &uri
	}
	if change == (rocketchat.RoomChange{}) {
		return nil
	}
	return s.asReader(ctx, p.RCReader, func(c *rocketchat.Client) error { return c.SaveRoom(ctx, string(p.RCRoom), change) })
}

// rename gives a room the name that is nearest to a title.
func (s *Side) rename(ctx context.Context, p model.Portal, title string) error {
	slug := slugOf(title)
	if slug == "" {
		return nil // nothing that Rocket.Chat would accept
	}
	for n := 1; n < 100; n++ {
		name := slug
		if n > 1 {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		err := s.Client.SaveRoom(ctx, string(p.RCRoom), rocketchat.RoomChange{Name: &name})
		if !rocketchat.Says(err, "error-duplicate-channel-name") {
			return side(err)
		}
	}
	return fmt.Errorf("%w: every name like %q is taken", model.ErrRefused, slug)
}

// Roles implements relay.RocketChat.
func (s *Side) Roles(ctx context.Context, p model.Portal) (map[ids.RCUser]model.Role, error) {
	list, err := s.Client.RoomRoles(ctx, p.RCType, string(p.RCRoom))
	if err != nil {
		return nil, side(err)
	}
	out := map[ids.RCUser]model.Role{}
	for _, entry := range list {
		for _, name := range entry.Roles {
			out[ids.RCUser(entry.User.ID)] = max(out[ids.RCUser(entry.User.ID)], roleOf(name))
		}
	}
	return out, nil
}

func roleOf(name string) model.Role {
	switch name {
	case "owner":
		return model.Owner
	case "moderator":
		return model.Moderator
	}
	return model.Member
}

// SetRole implements relay.RocketChat. The higher role is taken away only when
// the lower one is there.
func (s *Side) SetRole(ctx context.Context, p model.Portal, who ids.RCUser, role model.Role) error {
	c, room, user := s.Client, string(p.RCRoom), string(who)
	var err error
	switch role {
	case model.Owner:
		return side(c.AddOwner(ctx, p.RCType, room, user))
	case model.Moderator:
		if err = c.AddModerator(ctx, p.RCType, room, user); err == nil {
			err = c.RemoveOwner(ctx, p.RCType, room, user)
		}
	default:
		if err = c.RemoveOwner(ctx, p.RCType, room, user); err == nil {
			err = c.RemoveModerator(ctx, p.RCType, room, user)
		}
	}
	if rocketchat.Says(err, "error-remove-last-owner") {
		return fmt.Errorf("%w: %w", model.ErrRefused, err)
	}
	return side(err)
}
