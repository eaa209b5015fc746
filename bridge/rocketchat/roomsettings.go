package rocketchat

import (
	"context"
	"encoding/base64"
	"net/url"
)

// A RoomChange holds the changes for SaveRoom; nil leaves a value unchanged.
type RoomChange struct {
	Name         *string `json:"roomName,omitempty"`
	Topic        *string `json:"roomTopic,omitempty"`
	Announcement *string `json:"roomAnnouncement,omitempty"`
	ReadOnly     *bool   `json:"readOnly,omitempty"`
	Avatar       *string `json:"roomAvatar,omitempty"` // DataURI of a picture
}

// SaveRoom calls POST rooms.saveRoomSettings, which accepts rooms of any type.
// Values that a room already has cause no change and no system message.
func (c *Client) SaveRoom(ctx context.Context, rid string, change RoomChange) error {
	return c.post(ctx, "rooms.saveRoomSettings", struct {
		ID string `json:"rid"`
		RoomChange
	}{rid, change}, nil)
}

// DataURI returns a picture in the form that SaveRoom takes.
func DataURI(contentType string, data []byte) string {
	return "data:" + contentType + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// Archive calls POST rooms.changeArchivationState.
func (c *Client) Archive(ctx context.Context, rid string, on bool) error {
	action := map[bool]string{true: "archive", false: "unarchive"}[on]
	return c.post(ctx, "rooms.changeArchivationState", map[string]string{"rid": rid, "action": action}, nil)
}

// RoomRoles are the roles that a user has in one room: "owner", "moderator",
// "leader".
type RoomRoles struct {
	User  UserRef  `json:"u"`
	Roles []string `json:"roles"`
}

// RoomRoles calls channels.roles or groups.roles: all users with a role in a room.
func (c *Client) RoomRoles(ctx context.Context, roomType, rid string) ([]RoomRoles, error) {
	var out struct {
		Roles []RoomRoles `json:"roles"`
	}
	err := c.get(ctx, family(roomType)+".roles", url.Values{"roomId": {rid}}, &out)
	return out.Roles, err
}
