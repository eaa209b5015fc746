package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	// versionFor is how long the homeserver's default room version is cached.
	versionFor = 10 * time.Minute
	// maxCreations bounds the cache of room creations.
	maxCreations = 5000
	// firstWithCreators is the first room version whose creators have unlimited
	// power and must not be in m.room.power_levels.
	firstWithCreators = 12
	// firstWithRedacts is the first one whose redactions name their target in the
	// content.
	firstWithRedacts = 11
)

// versions finds out the versions of rooms, and caches them.
type versions struct {
	*client

	mu        sync.Mutex
	standard  string // of new rooms
	asked     time.Time
	creations map[ids.MXRoom]model.MXCreation
}

// creatorsRule reports whether a room version gives its creators unlimited power.
// Versions with custom names are treated like the older ones.
func creatorsRule(version string) bool {
	n, err := strconv.Atoi(version)
	return err == nil && n >= firstWithCreators
}

// redactsInContent reports whether redactions in a room version name their target
// in the content. In versions with custom names they may.
func redactsInContent(version string) bool {
	n, err := strconv.Atoi(version)
	return version != "" && (err != nil || n >= firstWithRedacts)
}

// Answers implements relay.Matrix: GET /_matrix/client/versions.
func (v *versions) Answers(ctx context.Context) error {
	c := v.as(v.bot())
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildURL(mautrix.BaseURLPath{"_matrix", "client", "versions"}), nil, nil)
	if he, ok := errors.AsType[mautrix.HTTPError](err); err != nil && (!ok || he.Response == nil || he.Response.StatusCode >= 500) {
		return fmt.Errorf("the homeserver %w: %w", model.ErrUnavailable, plain(err))
	}
	return nil
}

// ofNewRooms returns the version that the homeserver gives to new rooms (GET
// /capabilities). Every request names it: Dendrite (0.15) accepts version 12 as a
// default, but then fails to create a room whose version is not named.
func (v *versions) ofNewRooms(ctx context.Context) (string, error) {
	v.mu.Lock()
	version, asked := v.standard, v.asked
	v.mu.Unlock()
	if version != "" && time.Since(asked) < versionFor {
		return version, nil
	}
	c := v.as(v.bot())
	var out struct {
		Capabilities struct {
			Versions struct {
				Default string `json:"default"`
			} `json:"m.room_versions"`
		} `json:"capabilities"`
	}
	if _, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "capabilities"), nil, &out); err != nil {
		return "", fmt.Errorf("ask for the version of new rooms: %w", side(err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.standard, v.asked = out.Capabilities.Versions.Default, time.Now()
	return v.standard, nil
}

// Creation implements relay.Matrix: GET /rooms/{room}/state/m.room.create/?format=event.
// It never changes, so it is requested once per room.
func (v *versions) Creation(ctx context.Context, room ids.MXRoom, reader ids.MXUser) (model.MXCreation, error) {
	v.mu.Lock()
	known, ok := v.creations[room]
	v.mu.Unlock()
	if ok {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := v.as(reader)
	var raw json.RawMessage
	address := c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "rooms", room, "state", "m.room.create", ""}, map[string]string{"format": "event"})
	if _, err := c.MakeRequest(ctx, http.MethodGet, address, nil, &raw); err != nil {
		return model.MXCreation{}, side(err)
	}
	created := parseCreation(raw)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.creations == nil || len(v.creations) >= maxCreations {
		v.creations = map[ids.MXRoom]model.MXCreation{}
	}
	v.creations[room] = created
	return created, nil
}

// parseCreation reads an m.room.create event. Fields of an unexpected shape count
// as absent, one by one: anybody can create a room.
func parseCreation(raw json.RawMessage) model.MXCreation {
	var e struct {
		Sender  ids.MXUser                 `json:"sender"`
		Content map[string]json.RawMessage `json:"content"`
	}
	_ = json.Unmarshal(raw, &e)
	var created model.MXCreation
	var version string
	_ = json.Unmarshal(e.Content["room_version"], &version)
	_ = json.Unmarshal(e.Content["type"], &created.Type)
	var before struct {
		Room ids.MXRoom `json:"room_id"`
	}
	_ = json.Unmarshal(e.Content["predecessor"], &before)
	created.Predecessor = before.Room
	created.HidesRedactions = redactsInContent(version)
	if creatorsRule(version) {
		_ = json.Unmarshal(e.Content["additional_creators"], &created.Creators)
		created.Creators = append(created.Creators, e.Sender)
	}
	return created
}
