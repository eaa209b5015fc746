package mxside

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
)

// PublicRooms implements relay.Matrix: POST /publicRooms.
func (s *Side) PublicRooms(ctx context.Context, server, words string, limit int) ([]relay.PublicRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(s.Names.BotUser())
	query := map[string]string{}
	if server != "" && server != s.Names.Server {
		query["server"] = server
	}
	body := map[string]any{"limit": limit}
	if words != "" {
		body["filter"] = map[string]string{"generic_search_term": words}
	}
	var out struct {
		Chunk []struct {
			Room    ids.MXRoom `json:"room_id"`
			Alias   string     `json:"canonical_alias"`
			Name    string     `json:"name"`
			Topic   string     `json:"topic"`
			Members int        `json:"num_joined_members"`
		} `json:"chunk"`
	}
	_, err := c.MakeRequest(ctx, http.MethodPost, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "publicRooms"}, query), body, &out)
	if err != nil {
		return nil, side(err)
	}
	var rooms []relay.PublicRoom
	for _, r := range out.Chunk {
		rooms = append(rooms, relay.PublicRoom{Room: r.Room, Alias: r.Alias, Name: r.Name, Topic: r.Topic, Members: r.Members})
	}
	return rooms[:min(len(rooms), limit)], nil
}

// JoinAlias implements relay.Matrix: POST /join/{alias}. Dendrite's answer does not
// tell an alias that is unknown from a server that is down.
func (s *Side) JoinAlias(ctx context.Context, who ids.MXUser, alias string) (ids.MXRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, server, _ := strings.Cut(alias, ":")
	c := s.as(who)
	var out struct {
		Room ids.MXRoom `json:"room_id"`
	}
	query := map[string]string{"server_name": server}
	_, err := c.MakeRequest(ctx, http.MethodPost, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "join", alias}, query), map[string]any{}, &out)
	return out.Room, side(err)
}

// Refuse implements relay.Matrix: POST /rooms/{room}/leave with a reason, or the membership
// event itself; see Traits.DropsLeaveReason.
func (s *Side) Refuse(ctx context.Context, room ids.MXRoom, who ids.MXUser, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if s.traits.DropsLeaveReason {
		left := map[string]string{"membership": "leave", "reason": reason}
		if s.SetState(ctx, room, who, "m.room.member", string(who), left) == nil {
			return nil
		}
	}
	_, err := s.as(who).LeaveRoom(ctx, room, &mautrix.ReqLeave{Reason: reason})
	return side(err)
}

// Bridges implements relay.Matrix: the m.bridge state of a room, under its stable
// and its older name.
func (s *Side) Bridges(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]relay.BridgeInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var found []relay.BridgeInfo
	err := s.list(ctx, reader, "", mautrix.ClientURLPath{"v3", "rooms", room, "state"}, func(raw json.RawMessage) error {
		if b, ok := bridgeIn(raw); ok {
			found = append(found, b)
		}
		if len(found) >= maxBridges {
			return errEnough
		}
		return nil
	})
	return found, err
}

// maxBridges bounds how many bridges a room is said to have.
const maxBridges = 20

// bridgeIn reads an m.bridge event.
func bridgeIn(raw json.RawMessage) (relay.BridgeInfo, bool) {
	var e struct {
		Type    string `json:"type"`
		Content struct {
			Bot      ids.MXUser `json:"bridgebot"`
			Protocol struct {
				ID  string `json:"id"`
				URL string `json:"external_url"`
			} `json:"protocol"`
			Channel struct {
				ID string `json:"id"`
			} `json:"channel"`
		} `json:"content"`
	}
	var kind struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &kind) != nil || kind.Type != "m.bridge" && kind.Type != "uk.half-shot.bridge" || json.Unmarshal(raw, &e) != nil {
		return relay.BridgeInfo{}, false
	}
	return relay.BridgeInfo{Bot: e.Content.Bot, Protocol: e.Content.Protocol.ID, Site: e.Content.Protocol.URL, Channel: e.Content.Channel.ID}, true
}
