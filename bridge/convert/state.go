package convert

import (
	"encoding/json"
	"strconv"
)

// Powers holds what is read from m.room.power_levels.
type Powers struct {
	Users        map[string]int
	Default      int             // of users who are not in Users
	Events       int             // needed to write
	Redact       int             // needed to redact what others wrote
	Creators     map[string]bool // users with unlimited power (since room version 12)
	raw, rawUser map[string]json.RawMessage
}

// defaultRedact is Redact if a room does not specify it (Client-Server API,
// m.room.power_levels).
const defaultRedact = 50

// ParsePowers reads the content of m.room.power_levels. Anything that is not a
// level counts as absent.
func ParsePowers(content json.RawMessage) Powers {
	p := Powers{Users: map[string]int{}, raw: map[string]json.RawMessage{}, rawUser: map[string]json.RawMessage{}}
	_ = json.Unmarshal(content, &p.raw)
	_ = json.Unmarshal(p.raw["users"], &p.rawUser)
	for user, v := range p.rawUser {
		if n, ok := level(v); ok {
			p.Users[user] = n
		}
	}
	p.Default, _ = level(p.raw["users_default"])
	p.Events, _ = level(p.raw["events_default"])
	p.Redact = defaultRedact
	if n, ok := level(p.raw["redact"]); ok {
		p.Redact = n
	}
	return p
}

// level reads a power level: a whole number, or a string with one in old rooms.
func level(v json.RawMessage) (int, bool) {
	var f float64
	if json.Unmarshal(v, &f) == nil {
		return clampLevel(f), len(v) > 0
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return clampLevel(float64(n)), err == nil
}

func clampLevel(f float64) int {
	return int(max(-1<<40, min(1<<40, f)))
}

// MaxLevel is more than any level that a room can grant or require.
const MaxLevel = 1 << 53

// Of returns the level of a user.
func (p Powers) Of(user string) int {
	if p.Creators[user] {
		return MaxLevel
	}
	if n, ok := p.Users[user]; ok {
		return n
	}
	return p.Default
}

// Named returns the level of every user who has one of their own.
func (p Powers) Named() map[string]int {
	named := map[string]int{}
	for user, n := range p.Users {
		named[user] = n
	}
	for user := range p.Creators {
		named[user] = MaxLevel
	}
	return named
}

// With returns the content with the level of one user changed; everything else is
// unchanged.
func (p Powers) With(user string, n int) map[string]json.RawMessage {
	users := map[string]json.RawMessage{}
	for u, v := range p.rawUser {
		users[u] = v
	}
	users[user], _ = json.Marshal(n) // marshalling a number cannot fail
	out := p.copy()
	out["users"], _ = json.Marshal(users) // nor can a map of JSON
	return out
}

// WithEvents returns the content with another level required for writing.
func (p Powers) WithEvents(n int) map[string]json.RawMessage {
	out := p.copy()
	out["events_default"], _ = json.Marshal(n)
	return out
}

func (p Powers) copy() map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for k, v := range p.raw {
		out[k] = v
	}
	return out
}

// StateText returns a string field of a piece of state, "" if it is not a string.
func StateText(content json.RawMessage, key string) string {
	var o object
	_ = json.Unmarshal(content, &o)
	return o.str(key)
}
