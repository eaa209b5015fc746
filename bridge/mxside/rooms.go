package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// rooms creates rooms, and reads and changes their state.
type rooms struct {
	*client
	versions *versions
}

// CreateRoom implements relay.Matrix.
func (r *rooms) CreateRoom(ctx context.Context, spec model.MXRoomSpec) (ids.MXRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	version, err := r.versions.ofNewRooms(ctx)
	if err != nil {
		return "", err
	}
	req := &mautrix.ReqCreateRoom{
		RoomVersion: id.RoomVersion(version), Name: spec.Title, Topic: spec.Topic, Invite: spec.Invite, IsDirect: spec.Direct,
		Preset: "private_chat", Visibility: "private",
	}
	if spec.Direct {
		req.Preset = "trusted_private_chat"
	} else {
		users := map[id.UserID]int{}
		for u, level := range spec.Powers {
			users[u] = level
		}
		if delete(users, spec.Creator); !creatorsRule(version) {
			users[spec.Creator] = 100
		}
		// Owners and moderators may invite, as in Rocket.Chat; owners may do what
		// owners do there. Nobody but the bridge may encrypt the room.
		invite := model.InvitePower
		owner := model.OwnerPower
		req.PowerLevelOverride = &event.PowerLevelsEventContent{
			Users: users, InvitePtr: &invite, EventsDefault: spec.Write,
			Events: map[string]int{
				event.StatePowerLevels.Type: owner, event.StateTombstone.Type: owner, event.StateHistoryVisibility.Type: owner,
				event.StateServerACL.Type: owner, event.StateEncryption.Type: 100,
			},
		}
		req.InitialState = []*event.Event{bridgeState(spec)}
	}
	req.InitialState = append(req.InitialState, historyState(spec))
	resp, err := r.as(spec.Creator).CreateRoom(ctx, req)
	if err != nil {
		return "", side(err)
	}
	return resp.RoomID, nil
}

// historyState returns the room's m.room.history_visibility event.
func historyState(spec model.MXRoomSpec) *event.Event {
	visibility := model.HistoryInvited
	if spec.Past {
		visibility = model.HistoryShared
	}
	key := ""
	return &event.Event{Type: event.StateHistoryVisibility, StateKey: &key, Content: event.Content{Raw: map[string]any{"history_visibility": visibility}}}
}

// bridgeState returns the room's m.bridge event (MSC2346, under its unstable
// name), by which clients and other bridges see what the room is bridged to.
func bridgeState(spec model.MXRoomSpec) *event.Event {
	key := "rocketchat:" + string(spec.RCRoom)
	return &event.Event{
		Type:     event.StateHalfShotBridge,
		StateKey: &key,
		Content: event.Content{Raw: map[string]any{
			"bridgebot": spec.Creator,
			"protocol":  map[string]any{"id": "rocketchat", "displayname": "Rocket.Chat", "external_url": spec.Site},
			"channel":   map[string]any{"id": spec.RCRoom, "displayname": spec.Title},
		}},
	}
}

// Members implements relay.Matrix: GET /rooms/{room}/members.
func (r *rooms) Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.MXMember, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var members []model.MXMember
	err := list(ctx, r.client, reader, "chunk", mautrix.ClientURLPath{"v3", "rooms", room, "members"}, func(raw json.RawMessage) error {
		if e, err := convert.ParseEvent(raw); err == nil && !tooLong(e.StateKey) {
			// Names can be of any length: what would not be shown is not kept either.
			name := strings.Clone(convert.Name(e.Content.Name, ""))
			members = append(members, model.MXMember{User: ids.MXUser(e.StateKey), Name: name, Membership: e.Content.Membership})
		}
		if len(members) >= maxMembers {
			r.log.Warn("the member list of a room was truncated", "mx_room", room, "limit", maxMembers)
			return errEnough
		}
		return nil
	})
	return members, err
}

// State implements relay.Matrix: GET /rooms/{room}/state/{type}/{key}.
func (r *rooms) State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (json.RawMessage, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := r.as(reader)
	var out json.RawMessage
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "rooms", room, "state", kind, key), nil, &out)
	if err = side(err); errors.Is(err, model.ErrNotFound) {
		return nil, false, nil
	}
	return out, err == nil, err
}

// SetState implements relay.Matrix: PUT /rooms/{room}/state/{type}/{key}.
func (r *rooms) SetState(ctx context.Context, room ids.MXRoom, as ids.MXUser, kind, key string, content any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := r.as(as)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "rooms", room, "state", kind, key), content, nil)
	return side(err)
}

// Bridges implements relay.Matrix: the m.bridge state of a room, under its stable
// and its older name.
func (r *rooms) Bridges(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]model.BridgeInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var found []model.BridgeInfo
	err := list(ctx, r.client, reader, "", mautrix.ClientURLPath{"v3", "rooms", room, "state"}, func(raw json.RawMessage) error {
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

// maxBridges bounds how many bridges are read from the state of a room.
const maxBridges = 20

// bridgeIn reads an m.bridge event.
func bridgeIn(raw json.RawMessage) (model.BridgeInfo, bool) {
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
		return model.BridgeInfo{}, false
	}
	return model.BridgeInfo{Bot: e.Content.Bot, Protocol: e.Content.Protocol.ID, Site: e.Content.Protocol.URL, Channel: e.Content.Channel.ID}, true
}
