package rocketchat

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// page is how many rows one call asks for: the server's own upper limit.
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
	err := c.post(ctx, "groups.create", map[string]any{"name": name, "members": members}, &out)
	return out.Group, err
}

// CreateChannel calls POST channels.create.
func (c *Client) CreateChannel(ctx context.Context, name string, members []string) (Room, error) {
	var out struct {
		Channel Room `json:"channel"`
	}
	err := c.post(ctx, "channels.create", map[string]any{"name": name, "members": members}, &out)
	return out.Channel, err
}

// CreateDirect calls POST im.create: the direct room of the caller and the
// others, which may exist already.
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

// Invite calls channels.invite or groups.invite: it adds users to a room the
// caller may invite to. A user who is a member already is no error.
func (c *Client) Invite(ctx context.Context, roomType, rid string, userIDs ...string) error {
	for _, id := range userIDs {
		if err := c.post(ctx, family(roomType)+".invite", map[string]string{"roomId": rid, "userId": id}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Join calls channels.join: it enters a public channel.
func (c *Client) Join(ctx context.Context, rid string) error {
	return c.post(ctx, "channels.join", map[string]string{"roomId": rid}, nil)
}

// Leave calls channels.leave or groups.leave as the caller.
func (c *Client) Leave(ctx context.Context, roomType, rid string) error {
	return c.post(ctx, family(roomType)+".leave", map[string]string{"roomId": rid}, nil)
}

// Kick calls channels.kick or groups.kick.
func (c *Client) Kick(ctx context.Context, roomType, rid, userID string) error {
	return c.post(ctx, family(roomType)+".kick", map[string]string{"roomId": rid, "userId": userID}, nil)
}

// AddOwner calls channels.addOwner or groups.addOwner.
func (c *Client) AddOwner(ctx context.Context, roomType, rid, userID string) error {
	err := c.post(ctx, family(roomType)+".addOwner", map[string]string{"roomId": rid, "userId": userID}, nil)
	if Says(err, "error-user-already-owner") {
		return nil
	}
	return err
}

// Members lists everybody in a room.
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
