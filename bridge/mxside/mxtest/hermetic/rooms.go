package hermetic

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// room is a room as all its servers see it.
type room struct {
	universe *Universe
	id       string
	version  string
	creators []string
	events   []*event // in the room's order
	byID     map[string]*event
	state    map[key]*event
	typing   map[string]time.Time // until when
	typed    []int64              // position of the last change, by server
	receipts []receipt
}

// key identifies a piece of state.
type key struct{ kind, state string }

// event is an event of a room. A redaction replaces its content on servers that know of it.
type event struct {
	id, kind, sender string
	stateKey         *string
	content          json.RawMessage
	redacts          string
	at               int64 // origin_server_ts
	index            int   // in room.events
	replaced         *event
	redaction        *event  // that redacted it
	pos              []int64 // position on each server: unseen, past, or in its stream
}

const (
	unseen = -1 // the server does not have it
	past   = 0  // from before the server joined the room: /messages shows it
)

type receipt struct {
	user, event string
	at          int64
	pos         []int64
}

// delivery is an event on its way to another server.
type delivery struct {
	room  *room
	event *event
}

// number returns a room version as a number, 0 for one with a custom name.
func number(version string) int {
	n, _ := strconv.Atoi(version)
	return n
}

// creatorsRule: creators have unlimited power, and a room's ID names no server
// (room version 12, MSC4289 and MSC4291).
func (r *room) creatorsRule() bool { return number(r.version) >= 12 }

// redactsInContent: a redaction names its target in the content (room version 11).
func (r *room) redactsInContent() bool { return number(r.version) >= 11 }

// field reads a string from the content of a piece of state.
func (r *room) field(kind, name string) string {
	e := r.state[key{kind, ""}]
	if e == nil {
		return ""
	}
	return e.str(name)
}

// str reads a string from an event's content, "" if it is not one.
func (e *event) str(name string) string {
	if e == nil {
		return ""
	}
	var fields map[string]json.RawMessage
	var s string
	_ = json.Unmarshal(e.content, &fields)
	_ = json.Unmarshal(fields[name], &s)
	return s
}

// membership returns a user's membership in the room, "" for none.
func (r *room) membership(user string) string {
	return r.state[key{"m.room.member", user}].str("membership")
}

// joined returns the users in the room, sorted.
func (r *room) joined() []string {
	var users []string
	for k, e := range r.state {
		if k.kind == "m.room.member" && e.str("membership") == "join" {
			users = append(users, k.state)
		}
	}
	slices.Sort(users)
	return users
}

// has reports whether a user of a server is in the room.
func (r *room) has(server string) bool {
	return slices.ContainsFunc(r.joined(), func(u string) bool { return serverOf(u) == server })
}

// stateAt returns the state after an event. It is only needed for users who have
// left, and the history is short.
func (r *room) stateAt(index int) map[key]*event {
	state := map[key]*event{}
	for _, e := range r.events[:index+1] {
		if e.stateKey != nil {
			state[key{e.kind, *e.stateKey}] = e
		}
	}
	return state
}

// add adds an event to a room and informs the servers: the sender's at once, the
// others a moment later. The lock is held.
func (u *Universe) add(r *room, e *event) {
	e.id, e.index = "$"+opaque(), len(r.events)
	if e.at == 0 {
		e.at = time.Now().UnixMilli()
	}
	e.pos = make([]int64, len(u.servers))
	for i := range e.pos {
		e.pos[i] = unseen
	}
	before := map[*Server]bool{}
	for _, s := range u.servers {
		before[s] = r.has(s.Name)
	}
	r.events, r.byID[e.id] = append(r.events, e), e
	if e.stateKey != nil {
		k := key{e.kind, *e.stateKey}
		e.replaced = r.state[k]
		r.state[k] = e
	}
	if target := r.byID[e.redacts]; e.kind == "m.room.redaction" && target != nil {
		target.redaction = e
	}
	origin := u.server(serverOf(e.sender))
	for _, s := range u.servers {
		now, isTarget := r.has(s.Name), e.stateKey != nil && e.kind == "m.room.member" && serverOf(*e.stateKey) == s.Name
		switch {
		case s == origin:
			s.take(r, e)
		case isTarget && (!before[s] || !now): // an invitation, or the server's last user is removed
			s.take(r, e)
		case before[s] || now:
			s.inbox = append(s.inbox, delivery{r, e})
			s.nudge()
		}
	}
	u.happened()
}

// nudge wakes the receiving goroutine. The lock is held.
func (s *Server) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// receive takes in what other servers have sent, in order, until ctx ends. Events
// that arrive while the server is not running wait.
func (s *Server) receive(ctx context.Context) {
	s.u.mu.Lock()
	s.nudge() // for events that came while it was not running
	s.u.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if s.Delay > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(s.Delay):
			}
		}
		s.u.mu.Lock()
		waiting := s.inbox
		s.inbox = nil
		for _, d := range waiting {
			if s.skips > 0 && d.event.kind == "m.room.message" {
				s.skips--
				s.skipped[d.event] = true
			}
			if d.event.at0(s) == unseen {
				s.take(d.room, d.event)
			}
		}
		if len(waiting) > 0 {
			s.u.happened()
		}
		s.u.mu.Unlock()
	}
}

// at0 returns an event's position on a server; servers may be newer than the event.
func (e *event) at0(s *Server) int64 {
	if s.index >= len(e.pos) {
		return unseen
	}
	return e.pos[s.index]
}

func (e *event) setPosition(s *Server, pos int64) {
	for s.index >= len(e.pos) {
		e.pos = append(e.pos, unseen)
	}
	e.pos[s.index] = pos
}

// take puts an event into the server's stream. A user who joins a room that the
// server was not in brings the room's history along. The lock is held.
func (s *Server) take(r *room, e *event) {
	if s.hides(r, e) {
		return
	}
	s.clock++
	e.setPosition(s, s.clock)
	if e.kind == "m.room.member" && e.stateKey != nil && serverOf(*e.stateKey) == s.Name && e.str("membership") == "join" {
		for _, old := range r.events[:e.index] {
			if old.at0(s) == unseen && !s.hides(r, old) && !s.comes(old) {
				old.setPosition(s, past)
			}
		}
	}
	s.notify(r, e)
	for _, v := range s.services {
		v.offer(s, r, e)
	}
}

// comes reports whether an event is on its way to the server.
func (s *Server) comes(e *event) bool {
	return slices.ContainsFunc(s.inbox, func(d delivery) bool { return d.event == e })
}

// SkipNext makes the server reject the next message from another server, as a Dendrite (0.15)
// that was killed may. After Recover it accepts that message, without pushing it, when a user
// reads at the beginning of the room.
func (s *Server) SkipNext() {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	s.skips++
	if s.skipped == nil {
		s.skipped = map[*event]bool{}
	}
}

// Recover ends what SkipNext started.
func (s *Server) Recover() {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	for e := range s.skipped {
		s.skipped[e] = false
	}
}

// hides reports whether the server hides an event from everybody; see Traits and SkipNext.
func (s *Server) hides(r *room, e *event) bool {
	if _, was := s.skipped[e]; was && e.at0(s) == unseen {
		return true
	}
	if !s.Traits.HidesRedactions || e.kind != "m.room.redaction" || !r.redactsInContent() {
		return false
	}
	from := s.u.server(serverOf(e.sender))
	return from != nil && from.Traits.Synapse && !s.Traits.Synapse && e.at0(s) == unseen
}

// reveal shows the hidden events before the newest event of a room.
func (s *Server) reveal(r *room) {
	for _, e := range r.events[:max(0, len(r.events)-1)] {
		if s.hides(r, e) && !s.skipped[e] {
			e.setPosition(s, past)
		}
	}
}

// shown returns an event as a client of the server sees it; inSync omits the room's ID,
// which /sync has elsewhere.
func (s *Server) shown(r *room, e *event, inSync bool) map[string]any {
	content, unsigned := e.content, map[string]any{"age": time.Now().UnixMilli() - e.at}
	out := map[string]any{"event_id": e.id, "type": e.kind, "sender": e.sender, "origin_server_ts": e.at, "unsigned": unsigned}
	if !inSync {
		out["room_id"] = r.id
	}
	if e.stateKey != nil {
		out["state_key"] = *e.stateKey
		if e.replaced != nil {
			unsigned["prev_content"], unsigned["replaces_state"] = e.replaced.content, e.replaced.id
		}
	}
	if e.kind == "m.room.redaction" && e.redacts != "" {
		if !r.redactsInContent() || s.Traits.Synapse { // Synapse has it in both places
			out["redacts"] = e.redacts
		}
		if !r.redactsInContent() && s.Traits.Synapse {
			content = withField(content, "redacts", e.redacts)
		}
	}
	if e.redaction != nil && e.redaction.at0(s) != unseen {
		content = pruned(r, e)
		unsigned["redacted_because"] = s.shown(r, e.redaction, inSync)
		delete(unsigned, "prev_content")
	}
	out["content"] = content
	return out
}

// kept lists the keys of content that survive a redaction (specification, "Redactions",
// room version 11; earlier ones do not differ in anything that the bridge reads).
var kept = map[string][]string{
	"m.room.member":             {"membership", "join_authorised_via_users_server"},
	"m.room.join_rules":         {"join_rule", "allow"},
	"m.room.power_levels":       {"ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users", "users_default"},
	"m.room.history_visibility": {"history_visibility"},
}

// pruned returns what a redaction leaves of an event's content.
func pruned(r *room, e *event) json.RawMessage {
	if e.kind == "m.room.create" && r.redactsInContent() {
		return e.content
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(e.content, &fields)
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool { return !slices.Contains(kept[e.kind], name) })
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	return encode(fields)
}

func withField(content json.RawMessage, name string, value any) json.RawMessage {
	fields := map[string]json.RawMessage{}
	_ = json.Unmarshal(content, &fields)
	fields[name] = encode(value)
	return encode(fields)
}

// encode is json.Marshal for values that cannot fail.
func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
