package rocketchat

import (
	"context"
	"net/url"
)

// MarkRead calls POST subscriptions.read: the caller, who must be a member of the
// room, has read everything in it.
func (c *Client) MarkRead(ctx context.Context, rid string) error {
	return c.post(ctx, "subscriptions.read", map[string]any{"rid": rid}, nil)
}

// Counters holds how far a user has read a room.
type Counters struct {
	Joined    bool `json:"joined"`
	Unreads   int  `json:"unreads"`
	Latest    Time `json:"latest"`      // when the newest message was written
	ReadUntil Time `json:"unreadsFrom"` // when the room was last seen
}

// Counters calls GET channels.counters, groups.counters or im.counters for another
// user, which requires the permission view-room-administration.
func (c *Client) Counters(ctx context.Context, roomType, rid, userID string) (Counters, error) {
	var out Counters
	err := c.get(ctx, family(roomType)+".counters", url.Values{"roomId": {rid}, "userId": {userID}}, &out)
	return out, err
}

// SetStatus calls POST users.setStatus as the user itself: "online", "away",
// "busy" or "offline". Others see it only while the user has a session.
func (c *Client) SetStatus(ctx context.Context, status string) error {
	return c.post(ctx, "users.setStatus", map[string]any{"status": status, "message": ""}, nil)
}
