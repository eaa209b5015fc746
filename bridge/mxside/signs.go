package mxside

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
)

// Signs takes what passes; *relay.Relay does it.
type Signs interface {
	TypingOnMatrix(ctx context.Context, room ids.MXRoom, users []ids.MXUser)
	ReadOnMatrix(room ids.MXRoom, user ids.MXUser)
	PresenceOnMatrix(user ids.MXUser, is relay.Presence)
}

// sign is an event that is not stored by homeservers: m.typing, m.receipt or
// m.presence.
type sign struct {
	Type    string          `json:"type"`
	Room    ids.MXRoom      `json:"room_id"`
	Sender  ids.MXUser      `json:"sender"`
	Content json.RawMessage `json:"content"`
}

// signs hands over what a transaction (MSC2409) or /sync brought. room is given
// where the event does not name it.
func (s *Side) signs(ctx context.Context, events []json.RawMessage, room ids.MXRoom) {
	for _, raw := range events {
		var e sign
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		if room != "" {
			e.Room = room
		}
		switch e.Type {
		case "m.typing":
			var c struct {
				Users []ids.MXUser `json:"user_ids"`
			}
			if json.Unmarshal(e.Content, &c) == nil && e.Room != "" {
				s.Signs.TypingOnMatrix(ctx, e.Room, c.Users)
			}
		case "m.receipt":
			for _, user := range readers(e.Content) {
				s.Signs.ReadOnMatrix(e.Room, user)
			}
		case "m.presence":
			var c struct {
				Presence string `json:"presence"`
			}
			if json.Unmarshal(e.Content, &c) == nil && e.Sender != "" {
				s.Signs.PresenceOnMatrix(e.Sender, presences[c.Presence])
			}
		}
	}
}

var presences = map[string]relay.Presence{"online": relay.Online, "unavailable": relay.Away, "offline": relay.Offline, "": relay.Offline}

// readers returns who has read something: {"$event": {"m.read": {"@user": {...}}}}.
func readers(content json.RawMessage) []ids.MXUser {
	var c map[string]map[string]map[ids.MXUser]json.RawMessage
	if json.Unmarshal(content, &c) != nil {
		return nil
	}
	users := map[ids.MXUser]bool{}
	for _, kinds := range c {
		for user := range kinds["m.read"] {
			users[user] = true
		}
	}
	return slices.Collect(maps.Keys(users))
}

// filter leaves everything out of a /sync that the bridge does not read. The first
// one of a user, without since, is a beginning: what was said before is not read.
func (s *Side) filter(since string) string {
	limit := "100"
	if since == "" {
		limit = "1"
	}
	live := s.Live()
	var passing []string
	if live.Typing {
		passing = append(passing, `"m.typing"`)
	}
	if live.Receipts {
		passing = append(passing, `"m.receipt"`)
	}
	there := ""
	if live.Presence {
		there = `"m.presence"`
	}
	return `{"presence":{"types":[` + there + `]},"account_data":{"types":[]},"room":{"timeline":{"limit":` + limit + `},` +
		`"state":{"types":[]},"ephemeral":{"types":[` + strings.Join(passing, ",") + `]},"account_data":{"types":[]}}}`
}

// typingFor is how long a ghost is shown to type. Rocket.Chat says it again every
// ten seconds.
const typingFor = 15 * time.Second

// Typing implements relay.Matrix: PUT /rooms/{room}/typing/{user}.
func (s *Side) Typing(ctx context.Context, room ids.MXRoom, as ids.MXUser, on bool) error {
	wait := time.Duration(0)
	if on {
		wait = typingFor
	}
	_, err := s.as(as).UserTyping(ctx, room, on, wait)
	return side(err)
}

// MarkRead implements relay.Matrix: POST /rooms/{room}/receipt/m.read/{event}.
func (s *Side) MarkRead(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent) error {
	return side(s.as(as).SendReceipt(ctx, room, target, event.ReceiptTypeRead, struct{}{}))
}

// SetPresence implements relay.Matrix: PUT /presence/{user}/status.
func (s *Side) SetPresence(ctx context.Context, as ids.MXUser, is relay.Presence) error {
	to := map[relay.Presence]event.Presence{relay.Online: event.PresenceOnline, relay.Away: event.PresenceUnavailable, relay.Offline: event.PresenceOffline}[is]
	return side(s.as(as).SetPresence(ctx, mautrix.ReqPresence{Presence: to}))
}

// Profile implements relay.Matrix: GET /profile/{user}.
func (s *Side) Profile(ctx context.Context, user ids.MXUser) (relay.MXProfile, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(s.Names.BotUser())
	var out struct {
		Name   string `json:"displayname"`
		Avatar string `json:"avatar_url"`
	}
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "profile", user), nil, &out)
	return relay.MXProfile{Name: out.Name, Avatar: out.Avatar}, side(err)
}

// SetAvatar implements relay.Matrix: PUT /profile/{user}/avatar_url.
func (s *Side) SetAvatar(ctx context.Context, ghost ids.MXUser, mxc string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(ghost)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "profile", ghost, "avatar_url"), map[string]string{"avatar_url": mxc}, nil)
	return side(err)
}

// JoinedRooms implements relay.Matrix: GET /joined_rooms.
func (s *Side) JoinedRooms(ctx context.Context, user ids.MXUser) ([]ids.MXRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.as(user).JoinedRooms(ctx)
	if err != nil {
		return nil, side(err)
	}
	rooms := make([]ids.MXRoom, len(resp.JoinedRooms))
	for i, r := range resp.JoinedRooms {
		rooms[i] = id.RoomID(r)
	}
	return rooms, nil
}
