package rcside

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// rooms handles rooms, their members and their settings.
type rooms struct {
	*accounts
}

// Direct implements relay.RocketChat.
func (s *rooms) Direct(ctx context.Context, p model.Puppet, with model.RCPerson) (room ids.RCRoom, err error) {
	err = s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		r, err := c.CreateDirect(ctx, with.Username)
		room = ids.RCRoom(r.ID)
		return err
	})
	return room, err
}

var notInSlug = regexp.MustCompile(`[^0-9a-zA-Z._-]+`)

// slugOf returns a room name for a title that Rocket.Chat accepts, "" when nothing
// of the title is left.
func slugOf(title string) string {
	return strings.Trim(notInSlug.ReplaceAllString(title, "-"), "-.")
}

// CreateGroup implements relay.RocketChat.
func (s *rooms) CreateGroup(ctx context.Context, title string, owner model.RCPerson, unused func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error) {
	slug := slugOf(title)
	if slug == "" {
		slug = "matrix"
	}
	for n := 1; n < 100; n++ {
		name := slug
		if n > 1 {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		r, err := s.client.CreateGroup(ctx, name, []string{owner.Username})
		if rocketchat.Says(err, "error-duplicate-channel-name") {
			old, ok, lookErr := s.client.RoomByName(ctx, name)
			if lookErr != nil && !rocketchat.Says(lookErr, "Not Allowed", "not-allowed") {
				return model.RCRoomInfo{}, side(lookErr)
			}
			if !ok || old.Owner == nil || old.Owner.ID != s.client.UserID() {
				continue
			}
			free, freeErr := unused(ids.RCRoom(old.ID))
			if freeErr != nil {
				return model.RCRoomInfo{}, freeErr
			}
			if !free {
				continue
			}
			r, err = old, s.client.Invite(ctx, rocketchat.Group, old.ID, string(owner.ID)) // left over from an interrupted attempt
		}
		if err != nil {
			return model.RCRoomInfo{}, side(err)
		}
		if err := s.client.AddOwner(ctx, rocketchat.Group, r.ID, string(owner.ID)); err != nil {
			return model.RCRoomInfo{}, side(err)
		}
		return infoOf(r), nil
	}
	return model.RCRoomInfo{}, fmt.Errorf("%w: every name like %q is taken", model.ErrRefused, slug)
}

func infoOf(r rocketchat.Room) model.RCRoomInfo {
	return model.RCRoomInfo{
		ID: ids.RCRoom(r.ID), Type: r.Type, Slug: r.Name, Title: r.Title(), Topic: r.Topic, Announcement: r.Announcement, Avatar: r.AvatarETag,
		Encrypted: r.Encrypted, ReadOnly: r.ReadOnly, Archived: r.Archived,
	}
}

// Room implements relay.RocketChat.
func (s *rooms) Room(ctx context.Context, room ids.RCRoom) (model.RCRoomInfo, bool, error) {
	r, ok, err := s.client.RoomByID(ctx, string(room))
	switch {
	case rocketchat.Says(err, "Not Allowed", "not-allowed"):
		return model.RCRoomInfo{}, false, nil
	case rocketchat.Says(err, "error-room-archived"): // 7.x and some of 8.x return nothing more
		r, err = s.client.AdminRoom(ctx, string(room))
		ok = r.ID != ""
	}
	return infoOf(r), ok, side(err)
}

// Add implements relay.RocketChat.
func (s *rooms) Add(ctx context.Context, p model.Portal, who ids.RCUser) error {
	return side(s.client.Invite(ctx, p.RCType, string(p.RCRoom), string(who)))
}

// Remove implements relay.RocketChat.
func (s *rooms) Remove(ctx context.Context, p model.Portal, who ids.RCUser) error {
	return side(s.client.Kick(ctx, p.RCType, string(p.RCRoom), string(who)))
}

// Members implements relay.RocketChat.
func (s *rooms) Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error) {
	var members []rocketchat.Member
	err := s.asReader(ctx, p.RCReader, func(c *rocketchat.Client) (err error) {
		members, err = c.Members(ctx, p.RCType, string(p.RCRoom))
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]model.RCPerson, len(members))
	for i, m := range members {
		out[i] = model.RCPerson{ID: ids.RCUser(m.ID), Username: m.Username, Name: m.Name}
	}
	return out, nil
}

// Change implements relay.RocketChat. A name that another room has gets a number appended.
func (s *rooms) Change(ctx context.Context, p model.Portal, c model.RCRoomChange) error {
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

// rename gives a room the name closest to a title.
func (s *rooms) rename(ctx context.Context, p model.Portal, title string) error {
	slug := slugOf(title)
	if slug == "" {
		return nil // nothing that Rocket.Chat would accept
	}
	for n := 1; n < 100; n++ {
		name := slug
		if n > 1 {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		err := s.client.SaveRoom(ctx, string(p.RCRoom), rocketchat.RoomChange{Name: &name})
		if !rocketchat.Says(err, "error-duplicate-channel-name") {
			return side(err)
		}
	}
	return fmt.Errorf("%w: every name like %q is taken", model.ErrRefused, slug)
}

// Roles implements relay.RocketChat.
func (s *rooms) Roles(ctx context.Context, p model.Portal) (map[ids.RCUser]model.Role, error) {
	list, err := s.client.RoomRoles(ctx, p.RCType, string(p.RCRoom))
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

// SetRole implements relay.RocketChat. The higher role is removed only once the
// lower one is in place.
func (s *rooms) SetRole(ctx context.Context, p model.Portal, who ids.RCUser, role model.Role) error {
	c, room, user := s.client, string(p.RCRoom), string(who)
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

// Channels implements relay.RocketChat.
func (s *rooms) Channels(ctx context.Context, each func(model.RCRoomInfo) (more bool)) error {
	return side(s.client.Channels(ctx, func(rooms []rocketchat.Room) bool {
		for _, r := range rooms {
			if r.Type == rocketchat.Channel && !each(infoOf(r)) {
				return false
			}
		}
		return true
	}))
}

// Channel implements relay.RocketChat.
func (s *rooms) Channel(ctx context.Context, name string) (model.RCRoomInfo, bool, error) {
	r, ok, err := s.client.RoomByName(ctx, name)
	if err != nil || !ok || r.Type != rocketchat.Channel {
		return model.RCRoomInfo{}, false, side(err)
	}
	return infoOf(r), true, nil
}

// RoomAvatar implements relay.RocketChat.
func (s *rooms) RoomAvatar(ctx context.Context, room ids.RCRoom, limit int64) ([]byte, error) {
	data, err := s.client.RoomAvatar(ctx, string(room), limit)
	if err != nil {
		err = mediaError(err)
	}
	return data, err
}

// Usernames implements relay.RocketChat.
func (s *rooms) Usernames(ctx context.Context, room ids.RCRoom) ([]string, error) {
	r, err := s.client.AdminRoom(ctx, string(room))
	if err != nil || r.Type != rocketchat.Direct {
		return nil, side(err)
	}
	return r.Usernames, nil
}
