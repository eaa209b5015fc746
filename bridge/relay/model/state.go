package model

import (
	"context"
	"encoding/json"

	"appliance/bridge/ids"
)

// Types of state events.
const (
	StateName       = "m.room.name"
	StateTopic      = "m.room.topic"
	StateAvatar     = "m.room.avatar"
	StatePowers     = "m.room.power_levels"
	StateMember     = "m.room.member"
	StateTombstone  = "m.room.tombstone"
	StateEncryption = "m.room.encryption"
	StateHistory    = "m.room.history_visibility"
	StateJoinRules  = "m.room.join_rules"
)

// StatePins is the type of the state event that lists what is pinned in a room.
const StatePins = "m.room.pinned_events"

// A stateReader reads the state of Matrix rooms.
type stateReader interface {
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// MembershipOf returns a user's membership of a portal's Matrix room: "join", "leave", "ban" and
// so on, or "" if the user was never there.
func MembershipOf(ctx context.Context, mx stateReader, p Portal, names ids.Namespace, user ids.MXUser) (string, error) {
	content, _, err := mx.State(ctx, p.MXRoom, p.Reader(names), StateMember, string(user))
	var member struct {
		Membership string `json:"membership"`
	}
	_ = json.Unmarshal(content, &member) // content of another type says nothing
	return member.Membership, err
}
