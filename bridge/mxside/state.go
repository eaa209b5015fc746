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
