package rocketchat

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// page is the number of rows requested per call: the server's own upper limit.
const page = 100

// family returns the prefix of the endpoints that belong to a room type.
func family(roomType string) string {
	switch roomType {
	case Channel:
		return "channels"
	case Direct:
		return "im"
	default:
		return "groups"
	}
}

// RoomByID calls GET rooms.info as the caller, who must have access. ok is
// false when there is no such room.
func (c *Client) RoomByID(ctx context.Context, rid string) (r Room, ok bool, err error) {
	return c.roomInfo(ctx, url.Values{"roomId": {rid}})
}

// RoomByName is RoomByID for the slug of a channel or group.
func (c *Client) RoomByName(ctx context.Context, name string) (r Room, ok bool, err error) {
	return c.roomInfo(ctx, url.Values{"roomName": {name}})
}

func (c *Client) roomInfo(ctx context.Context, q url.Values) (Room, bool, error) {
	var out struct {
		Room Room `json:"room"`
	}
	err := c.get(ctx, "rooms.info", q, &out)
	if Says(err, "error-room-not-found") {
		return Room{}, false, nil
	}
	return out.Room, err == nil && out.Room.ID != "", err
}

// Subscription calls GET subscriptions.getOne. ok is false when the caller is
// not a member of the room.
func (c *Client) Subscription(ctx context.Context, rid string) (s Subscription, ok bool, err error) {
	var out struct {
		Subscription *Subscription `json:"subscription"`
	}
	err = c.get(ctx, "subscriptions.getOne", url.Values{"roomId": {rid}}, &out)
	if err != nil || out.Subscription == nil {
		return Subscription{}, false, err
	}
	return *out.Subscription, true, nil
}

// Subscriptions calls GET subscriptions.get: every room of the caller.
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	var out struct {
		Update []Subscription `json:"update"`
	}
	err := c.get(ctx, "subscriptions.get", nil, &out)
	return out.Update, err
}

// CreateGroup calls POST groups.create.
func (c *Client) CreateGroup(ctx context.Context, name string, members []string) (Room, error) {
	var out struct {
		Group Room `json:"group"`
	}
	err := c.post(ctx, "groups.create", map[string]any{"name": name, "members": append([]string{}, members...)}, &out)
	return out.Group, err
}

// CreateChannel calls POST channels.create.
func (c *Client) CreateChannel(ctx context.Context, name string, members []string) (Room, error) {
	var out struct {
		Channel Room `json:"channel"`
	}
	err := c.post(ctx, "channels.create", map[string]any{"name": name, "members": append([]string{}, members...)}, &out)
	return out.Channel, err
}

// CreateDirect calls POST im.create and returns the direct room of the caller and
// the others, which may already exist.
func (c *Client) CreateDirect(ctx context.Context, usernames ...string) (Room, error) {
	var out struct {
		Room struct {
			Room
			RID string `json:"rid"`
		} `json:"room"`
	}
	body := map[string]string{"usernames": strings.Join(usernames, ",")}
	if len(usernames) == 1 {
		body = map[string]string{"username": usernames[0]}
	}
	err := c.post(ctx, "im.create", body, &out)
	if out.Room.ID == "" {
		out.Room.ID = out.Room.RID
	}
	return out.Room.Room, err
}

// Invite calls channels.invite or groups.invite: it adds users to a room the caller
// may invite to. Inviting an existing member is not an error.
func (c *Client) Invite(ctx context.Context, roomType, rid string, userIDs ...string) error {
	for _, id := range userIDs {
		if err := c.post(ctx, family(roomType)+".invite", map[string]string{"roomId": rid, "userId": id}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Join calls channels.join, which enters a public channel.
func (c *Client) Join(ctx context.Context, rid string) error {
	return c.post(ctx, "channels.join", map[string]string{"roomId": rid}, nil)
}

// Leave calls channels.leave or groups.leave as the caller. Leaving as a non-member
// is not an error; the last owner gets "error-you-are-last-owner".
func (c *Client) Leave(ctx context.Context, roomType, rid string) error {
	err := c.post(ctx, family(roomType)+".leave", map[string]string{"roomId": rid}, nil)
	if Says(err, "error-user-not-in-room") {
		return nil
	}
	return err
}

// Kick calls channels.kick or groups.kick. Kicking a non-member is "error-user-not-in-room".
func (c *Client) Kick(ctx context.Context, roomType, rid, userID string) error {
	return c.post(ctx, family(roomType)+".kick", map[string]string{"roomId": rid, "userId": userID}, nil)
}

// AddOwner calls channels.addOwner or groups.addOwner. Adding an existing owner is
// not an error.
func (c *Client) AddOwner(ctx context.Context, roomType, rid, userID string) error {
	return c.role(ctx, roomType, "addOwner", rid, userID, "error-user-already-owner")
}

// RemoveOwner calls channels.removeOwner or groups.removeOwner. Removing a user who
// is not an owner is not an error; removing the last owner is "error-remove-last-owner".
func (c *Client) RemoveOwner(ctx context.Context, roomType, rid, userID string) error {
	return c.role(ctx, roomType, "removeOwner", rid, userID, "error-user-not-owner")
}

// AddModerator calls channels.addModerator or groups.addModerator. Adding an
// existing moderator is not an error.
func (c *Client) AddModerator(ctx context.Context, roomType, rid, userID string) error {
	return c.role(ctx, roomType, "addModerator", rid, userID, "error-user-already-moderator")
}

// RemoveModerator calls channels.removeModerator or groups.removeModerator.
// Removing a user who is not a moderator is not an error.
func (c *Client) RemoveModerator(ctx context.Context, roomType, rid, userID string) error {
	return c.role(ctx, roomType, "removeModerator", rid, userID, "error-user-not-moderator")
}

// role calls an endpoint that changes a role. The code done means that the user
// already has the role, or already lacks it.
func (c *Client) role(ctx context.Context, roomType, endpoint, rid, userID, done string) error {
	err := c.post(ctx, family(roomType)+"."+endpoint, map[string]string{"roomId": rid, "userId": userID}, nil)
	if Says(err, done) {
		return nil
	}
	return err
}

// SetTopic calls channels.setTopic, groups.setTopic or im.setTopic; "" removes the topic.
func (c *Client) SetTopic(ctx context.Context, roomType, rid, topic string) error {
	return unlessTheSame(c.post(ctx, family(roomType)+".setTopic", map[string]string{"roomId": rid, "topic": topic}, nil))
}

// unlessTheSame treats the refusal of a value that the room already has as success.
// Channels refuse it, other rooms do not.
func unlessTheSame(err error) error {
	e, ok := errors.AsType[*Error](err)
	if ok && strings.Contains(e.Text, " is the same as what it would be ") {
		return nil
	}
	return err
}

// SetAnnouncement calls channels.setAnnouncement or groups.setAnnouncement; ""
// removes the announcement. A direct room has none.
func (c *Client) SetAnnouncement(ctx context.Context, roomType, rid, announcement string) error {
	return unlessTheSame(c.post(ctx, family(roomType)+".setAnnouncement", map[string]string{"roomId": rid, "announcement": announcement}, nil))
}

// Rename calls channels.rename or groups.rename. Renaming to the current name is
// not an error; a direct room has no name.
func (c *Client) Rename(ctx context.Context, roomType, rid, name string) error {
	return unlessTheSame(c.post(ctx, family(roomType)+".rename", map[string]string{"roomId": rid, "name": name}, nil))
}

// Members lists all members of a room.
func (c *Client) Members(ctx context.Context, roomType, rid string) ([]Member, error) {
	var all []Member
	for {
		var out struct {
			Members []Member `json:"members"`
			Total   int      `json:"total"`
		}
		q := url.Values{"roomId": {rid}, "count": {strconv.Itoa(page)}, "offset": {strconv.Itoa(len(all))}}
		if err := c.get(ctx, family(roomType)+".members", q, &out); err != nil {
			return nil, fmt.Errorf("members of %s: %w", rid, err)
		}
		all = append(all, out.Members...)
		if len(out.Members) == 0 || len(all) >= out.Total {
			return all, nil
		}
	}
}

// Channels calls GET channels.list and passes the public channels to each, a page
// at a time, until each returns false.
func (c *Client) Channels(ctx context.Context, each func([]Room) (more bool)) error {
	for offset := 0; ; {
		var out struct {
			Channels []Room `json:"channels"`
			Total    int    `json:"total"`
		}
		q := url.Values{"count": {strconv.Itoa(page)}, "offset": {strconv.Itoa(offset)}, "sort": {`{"name":1}`}}
		if err := c.get(ctx, "channels.list", q, &out); err != nil {
			return err
		}
		if offset += len(out.Channels); !each(out.Channels) || len(out.Channels) == 0 || offset >= out.Total {
			return nil
		}
	}
}
