package model

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
