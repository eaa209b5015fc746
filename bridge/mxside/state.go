package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
)

// State implements relay.Matrix: GET /rooms/{room}/state/{type}/{key}.
func (s *Side) State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (json.RawMessage, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(reader)
	var out json.RawMessage
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "rooms", room, "state", kind, key), nil, &out)
	if err = side(err); errors.Is(err, relay.ErrNotFound) {
		return nil, false, nil
	}
	return out, err == nil, err
}

// SetState implements relay.Matrix: PUT /rooms/{room}/state/{type}/{key}.
func (s *Side) SetState(ctx context.Context, room ids.MXRoom, as ids.MXUser, kind, key string, content any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(as)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "rooms", room, "state", kind, key), content, nil)
	return side(err)
}

// Ban implements relay.Matrix.
func (s *Side) Ban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(as).BanUser(ctx, room, &mautrix.ReqBanUser{UserID: who})
	return side(err)
}

// Unban implements relay.Matrix.
func (s *Side) Unban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(as).UnbanUser(ctx, room, &mautrix.ReqUnbanUser{UserID: who})
	return side(err)
}

// JoinVia implements relay.Matrix: POST /join/{room}?server_name=…
func (s *Side) JoinVia(ctx context.Context, room ids.MXRoom, who ids.MXUser, via ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(who).JoinRoom(ctx, string(room), &mautrix.ReqJoinRoom{Via: via})
	return side(err)
}

// Event implements relay.Matrix: GET /rooms/{room}/event/{event}.
func (s *Side) Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(reader)
	var out json.RawMessage
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "rooms", room, "event", event), nil, &out)
	return out, side(err)
}

// maxReferring bounds how many events that refer to one are read.
const maxReferring = 5000

// Referring implements relay.Matrix: GET /_matrix/client/v1/rooms/{room}/relations/{event}/{relation}.
func (s *Side) Referring(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent, relation string) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(reader)
	var all []json.RawMessage
	for from := ""; len(all) < maxReferring; {
		query := map[string]string{"limit": "100"}
		if from != "" {
			query["from"] = from
		}
		var out struct {
			Chunk []json.RawMessage `json:"chunk"`
			Next  string            `json:"next_batch"`
		}
		address := c.BuildURLWithQuery(mautrix.ClientURLPath{"v1", "rooms", room, "relations", event, relation}, query)
		if _, err := c.MakeRequest(ctx, http.MethodGet, address, nil, &out); err != nil {
			return nil, side(err)
		}
		all = append(all, out.Chunk...)
		if from = out.Next; from == "" || len(out.Chunk) == 0 {
			break
		}
	}
	return all, nil
}
