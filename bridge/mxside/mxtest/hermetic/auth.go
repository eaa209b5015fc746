package hermetic

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
)

// powers is m.room.power_levels with the defaults of the specification.
type powers struct {
	Users         map[string]int64 `json:"users"`
	UsersDefault  int64            `json:"users_default"`
	Events        map[string]int64 `json:"events"`
	EventsDefault int64            `json:"events_default"`
	StateDefault  int64            `json:"state_default"`
	Ban           int64            `json:"ban"`
	Kick          int64            `json:"kick"`
	Redact        int64            `json:"redact"`
	Invite        int64            `json:"invite"`
}

// parsePowers fails if a level is not an integer: room versions since 10 accept nothing else.
func parsePowers(content json.RawMessage) (powers, error) {
	p := powers{StateDefault: 50, Ban: 50, Kick: 50, Redact: 50}
	err := json.Unmarshal(content, &p)
	return p, err
}

func (r *room) powers() powers {
	if e := r.state[key{"m.room.power_levels", ""}]; e != nil {
		p, _ := parsePowers(e.content) // it was checked
		return p
	}
	p, _ := parsePowers(json.RawMessage("{}"))
	p.StateDefault = 0 // "if the room contains no m.room.power_levels event"
	p.Users = map[string]int64{r.creators[0]: 100}
	return p
}

// power returns a user's level. Creators of rooms since version 12 are above everybody else.
func (r *room) power(p powers, user string) int64 {
	if r.creatorsRule() && slices.Contains(r.creators, user) {
		return math.MaxInt64
	}
	if level, ok := p.Users[user]; ok {
		return level
	}
	return p.UsersDefault
}

func (p powers) needed(e *event) int64 {
	if level, ok := p.Events[e.kind]; ok {
		return level
	}
	if e.stateKey != nil {
		return p.StateDefault
	}
	return p.EventsDefault
}

// authorise checks an event against the rules of the specification ("Authorization
// rules" of room versions 10 to 12), as far as they apply to what this server supports.
func (r *room) authorise(e *event) error {
	p := r.powers()
	if e.kind == "m.room.member" && e.stateKey != nil {
		return r.authoriseMember(p, e)
	}
	if r.membership(e.sender) != "join" {
		return forbidden("%s is not joined to the room", e.sender)
	}
	if mine, need := r.power(p, e.sender), p.needed(e); mine < need {
		return forbidden("the sender has the power %d and needs %d for %s", mine, need, e.kind)
	}
	switch {
	case e.stateKey != nil && strings.HasPrefix(*e.stateKey, "@") && *e.stateKey != e.sender:
		return forbidden("the state key is another user")
	case e.kind == "m.room.power_levels" && e.stateKey != nil:
		return r.authorisePowers(p, e)
	case e.kind == "m.room.redaction":
		return r.authoriseRedaction(p, e)
	}
	return nil
}

// authoriseRedaction: servers let people redact their own events, and, with enough
// power, those of others (Client-Server API, "Redactions").
func (r *room) authoriseRedaction(p powers, e *event) error {
	target := r.byID[e.redacts]
	if target == nil {
		return &apiError{404, "M_NOT_FOUND", "there is no such event", nil}
	}
	if target.sender != e.sender && r.power(p, e.sender) < p.Redact {
		return forbidden("the event is another user's")
	}
	return nil
}

func (r *room) authoriseMember(p powers, e *event) error {
	target, was, mine := *e.stateKey, r.membership(*e.stateKey), r.power(p, e.sender)
	sender := r.membership(e.sender)
	switch e.str("membership") {
	case "join":
		return r.authoriseJoin(e, was)
	case "invite":
		switch {
		case sender != "join":
			return forbidden("%s is not joined to the room", e.sender)
		case was == "join" || was == "ban":
			return forbidden("%s is in the room or banned (%s)", target, was)
		case mine < p.Invite:
			return forbidden("%s may not invite", e.sender)
		}
	case "leave":
		switch {
		case target == e.sender && (was == "join" || was == "invite" || was == "knock"):
			return nil
		case sender != "join":
			return forbidden("%s is not joined to the room", e.sender)
		case was == "ban" && mine < p.Ban:
			return forbidden("%s may not lift a ban", e.sender)
		case mine < p.Kick || mine <= r.power(p, target):
			return forbidden("%s may not remove %s", e.sender, target)
		}
	case "ban":
		if sender != "join" || mine < p.Ban || mine <= r.power(p, target) {
			return forbidden("%s may not ban %s", e.sender, target)
		}
	default: // knocking is left out
		return forbidden("this membership is not allowed")
	}
	return nil
}

func (r *room) authoriseJoin(e *event, was string) error {
	rule := r.field("m.room.join_rules", "join_rule")
	switch {
	case e.sender != *e.stateKey:
		return forbidden("nobody joins for another user")
	case len(r.events) == 1 && e.sender == r.creators[0]:
		return nil
	case was == "ban":
		return forbidden("%s is banned from the room", e.sender)
	case was == "join", was == "invite", rule == "public":
		return nil
	case rule == "restricted" && r.allowedElsewhere(e.sender):
		return nil
	}
	return forbidden("you are not invited to this room")
}

// allowedElsewhere: a restricted room admits members of another room (room version 8).
func (r *room) allowedElsewhere(user string) bool {
	var c struct {
		Allow []struct {
			Room string `json:"room_id"`
		} `json:"allow"`
	}
	_ = json.Unmarshal(r.state[key{"m.room.join_rules", ""}].content, &c)
	for _, a := range c.Allow {
		if other := r.universe.rooms[a.Room]; other != nil && other.membership(user) == "join" {
			return true
		}
	}
	return false
}

// authorisePowers: nobody grants or removes more power than they have.
func (r *room) authorisePowers(old powers, e *event) error {
	next, err := parsePowers(e.content)
	if err != nil {
		return &apiError{400, "M_BAD_JSON", "a power level is no integer: " + err.Error(), nil}
	}
	for _, c := range r.creators {
		if _, named := next.Users[c]; named && r.creatorsRule() { // Dendrite and Synapse answer 400
			return &apiError{400, "M_BAD_JSON", "a creator of the room must not have a power level", nil}
		}
	}
	if r.state[key{"m.room.power_levels", ""}] == nil {
		return nil
	}
	mine := r.power(old, e.sender)
	levels := [][2]int64{
		{old.UsersDefault, next.UsersDefault}, {old.EventsDefault, next.EventsDefault}, {old.StateDefault, next.StateDefault},
		{old.Ban, next.Ban}, {old.Kick, next.Kick}, {old.Redact, next.Redact}, {old.Invite, next.Invite},
	}
	for _, kind := range names(old.Events, next.Events) {
		levels = append(levels, [2]int64{old.Events[kind], next.Events[kind]})
	}
	for _, l := range levels {
		if l[0] != l[1] && max(l[0], l[1]) > mine {
			return forbidden("the sender has the power %d and may not change the level %d to %d", mine, l[0], l[1])
		}
	}
	for _, user := range names(old.Users, next.Users) {
		was, had := old.Users[user]
		is := next.Users[user]
		if had && was != is && user != e.sender && was >= mine || was != is && is > mine {
			return forbidden("the sender has the power %d and may not change that of %s", mine, user)
		}
	}
	return nil
}

// names returns the keys of both maps.
func names(a, b map[string]int64) []string {
	var all []string
	for k := range a {
		all = append(all, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			all = append(all, k)
		}
	}
	return all
}

// visible reports for each event of a room whether a user may see it, according to
// the rules of m.room.history_visibility.
func (r *room) visible(user string) []bool {
	out := make([]bool, len(r.events))
	last := -1 // the last event while the user was in
	membership, visibility := "", "shared"
	type moment struct{ membership, visibility string }
	seen := make([]moment, len(r.events))
	for i, e := range r.events {
		before := moment{membership, visibility}
		if e.stateKey != nil {
			switch {
			case e.kind == "m.room.member" && *e.stateKey == user:
				membership = e.str("membership")
			case e.kind == "m.room.history_visibility" && *e.stateKey == "":
				visibility = e.str("history_visibility")
			}
		}
		seen[i] = moment{membership, visibility}
		if before.membership == "join" || membership == "join" {
			last = i
		}
		if before.membership == "join" && membership != "join" { // users see themselves leave
			seen[i].membership = "join"
		}
	}
	for i, m := range seen {
		switch m.visibility {
		case "world_readable":
			out[i] = true
		case "joined":
			out[i] = m.membership == "join"
		case "invited":
			out[i] = m.membership == "join" || m.membership == "invite"
		default:
			out[i] = m.membership == "join" || i <= last
		}
	}
	return out
}
