package hermetic

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// maxEvent is the largest event (specification, "Size limits"). The rest of an event,
// with its signatures, takes about envelope bytes of that.
const (
	maxEvent = 65536
	envelope = 1000
	// maxDepth is how deep JSON may be nested for Go, and so for Dendrite, and
	// synapseDepth how deep for Synapse, whose JSON library is Python's.
	maxDepth     = 10000
	synapseDepth = 900
)

// content checks the body of a request that creates an event.
func (s *Server) content(q *request) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(q.body, &fields); err != nil || fields == nil {
		return nil, &apiError{http.StatusBadRequest, "M_NOT_JSON", "the body is no JSON object", nil}
	}
	code := "M_BAD_JSON" // Dendrite 0.15
	if s.Traits.Synapse {
		code = "M_TOO_LARGE"
	}
	if len(q.body) > maxEvent-envelope {
		return nil, &apiError{http.StatusRequestEntityTooLarge, code, "the event is too large", nil}
	}
	if s.Traits.Synapse && strings.Count(string(q.body), "[") > synapseDepth && depth(q.body) > synapseDepth {
		return nil, &apiError{http.StatusBadRequest, "M_BAD_JSON", "the content is nested too deep", nil}
	}
	return q.body, nil
}

// depth returns how deep JSON is nested.
func depth(data []byte) (deepest int) {
	now, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}', c == ']':
			now--
		}
	}
	return deepest
}

// once returns the same event again for a client's transaction that was already
// answered (Client-Server API, "Transaction identifiers").
func (s *Server) once(q *request, do func() (*event, error)) (any, error) {
	of := q.user.id
	if q.service != nil && s.Traits.SharesTransactions {
		of = q.service.sender
	}
	mark := of + " " + q.URL.EscapedPath()
	if id, done := s.sent[mark]; done && !s.rude.forgets(q) {
		return map[string]any{"event_id": id}, nil
	}
	e, err := do()
	if err != nil {
		return nil, err
	}
	s.sent[mark] = e.id
	return map[string]any{"event_id": e.id}, nil
}

// timestamp reads ?ts=: Dendrite accepts it from anybody, Synapse from application services.
func (s *Server) timestamp(q *request) int64 {
	ts, err := strconv.ParseInt(q.query("ts"), 10, 64)
	if err != nil || ts <= 0 || s.Traits.Synapse && q.service == nil {
		return 0
	}
	return ts
}

// send is PUT /rooms/{room}/send/{type}/{txn}.
func (s *Server) send(q *request) (any, error) {
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	return s.once(q, func() (*event, error) {
		content, err := s.content(q)
		if err != nil {
			return nil, err
		}
		e := &event{kind: q.PathValue("type"), sender: q.user.id, content: content, at: s.timestamp(q)}
		if e.kind == "m.room.redaction" {
			if e.redacts = e.str("redacts"); !r.redactsInContent() {
				return nil, &apiError{http.StatusBadRequest, "M_UNKNOWN", "use the endpoint for redactions", nil}
			}
		}
		if err := r.authorise(e); err != nil {
			return nil, err
		}
		if s.Traits.Synapse && e.kind == "m.reaction" && r.reacted(e) {
			return nil, &apiError{http.StatusBadRequest, "M_DUPLICATE_ANNOTATION", "Can't send same reaction twice", nil}
		}
		s.u.add(r, e)
		return e, nil
	})
}

// reference is an event's relation to another one.
type reference struct {
	Event string `json:"event_id"`
	Type  string `json:"rel_type"`
	Key   string `json:"key"`
}

func (e *event) reference() reference {
	var c struct {
		To reference `json:"m.relates_to"`
	}
	_ = json.Unmarshal(e.content, &c)
	return c.To
}

// reacted reports whether the sender has already reacted to the same event with the same key.
func (r *room) reacted(e *event) bool {
	for _, old := range r.events {
		if old.kind == e.kind && old.sender == e.sender && old.redaction == nil && old.reference() == e.reference() {
			return true
		}
	}
	return false
}

// redact is PUT /rooms/{room}/redact/{event}/{txn}.
func (s *Server) redact(q *request) (any, error) {
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	return s.once(q, func() (*event, error) {
		var in struct {
			Reason string `json:"reason"`
		}
		if err := q.read(&in); err != nil {
			return nil, err
		}
		content := withReason(map[string]any{}, in.Reason)
		e := &event{kind: "m.room.redaction", sender: q.user.id, redacts: q.PathValue("event")}
		if r.redactsInContent() {
			content["redacts"] = e.redacts
		}
		e.content = encode(content)
		if err := r.authorise(e); err != nil {
			return nil, err
		}
		s.u.add(r, e)
		return e, nil
	})
}

// putState is PUT /rooms/{room}/state/{type}/{key}.
func (s *Server) putState(q *request) (any, error) {
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	content, err := s.content(q)
	if err != nil {
		return nil, err
	}
	state := q.PathValue("key")
	e := &event{kind: q.PathValue("type"), sender: q.user.id, stateKey: &state, content: content}
	if old := r.state[key{e.kind, state}]; old != nil && old.sender == e.sender && sameJSON(old.content, content) {
		return map[string]any{"event_id": old.id}, nil // Synapse and Dendrite create no second one
	}
	if err := r.authorise(e); err != nil {
		return nil, err
	}
	s.u.add(r, e)
	return map[string]any{"event_id": e.id}, nil
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return string(encode(x)) == string(encode(y)) // keys are sorted
}

// getState is GET /rooms/{room}/state/{type}/{key}.
func (s *Server) getState(q *request) (any, error) {
	r, state, err := s.seen(q)
	if err != nil {
		return nil, err
	}
	e := state[key{q.PathValue("type"), q.PathValue("key")}]
	if e == nil {
		return nil, notFound("there is no such state")
	}
	shown := s.shown(r, e, false)
	if q.query("format") == "event" {
		return shown, nil
	}
	return shown["content"], nil
}

func (s *Server) allState(q *request) (any, error) {
	r, state, err := s.seen(q)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, e := range state {
		list = append(list, s.shown(r, e, false))
	}
	return list, nil
}

// reads returns the room of a request and, by index, whether the user may read each
// event: the server has to have it, and the room's history visibility has to allow it.
func (s *Server) reads(q *request) (*room, []bool, error) {
	r, err := s.room(q)
	if err != nil {
		return nil, nil, err
	}
	visible := r.visible(q.user.id)
	member := r.state[key{"m.room.member", q.user.id}]
	if m := member.str("membership"); m != "join" && (member == nil || member.replaced.str("membership") != "join") && r.field("m.room.history_visibility", "history_visibility") != "world_readable" {
		return nil, nil, forbidden("%s is not in the room", q.user.id)
	}
	for i, e := range r.events {
		visible[i] = visible[i] && e.at0(s) != unseen
	}
	return r, visible, nil
}

// oneEvent is GET /rooms/{room}/event/{event}.
func (s *Server) oneEvent(q *request) (any, error) {
	r, visible, err := s.reads(q)
	if err != nil {
		return nil, err
	}
	e := r.byID[q.PathValue("event")]
	if e == nil || !visible[e.index] {
		return nil, notFound("there is no such event")
	}
	return s.shown(r, e, false), nil
}

// place is a pagination token: the position before an event, counted from 1. Dendrite's
// tokens are "t" with a depth and a position ("t12_34"), Synapse's have more numbers.
type place struct{ depth, position int64 }

func (s *Server) token(depth int) string {
	if s.Traits.Synapse {
		return fmt.Sprintf("t%d-%d_0_0", depth, depth)
	}
	return fmt.Sprintf("t%d_%d", depth, depth)
}

// place parses a token. Those of /sync ("s12") are positions in the stream, and stand
// for the end of the room.
func (s *Server) place(token string) (place, error) {
	if token == "" || token[0] == 's' {
		return place{math.MaxInt64, math.MaxInt64}, nil
	}
	head, tail, _ := strings.Cut(strings.TrimPrefix(token, "t"), map[bool]string{true: "-", false: "_"}[s.Traits.Synapse])
	tail, _, _ = strings.Cut(tail, "_")
	d, err := strconv.ParseInt(head, 10, 64)
	p, errPosition := strconv.ParseInt(tail, 10, 64)
	if err != nil || errPosition != nil || token[0] != 't' {
		return place{}, &apiError{http.StatusBadRequest, "M_INVALID_PARAM", "the token is none of this server", nil}
	}
	return place{d, p}, nil
}

func (p place) after(index int) bool {
	n := int64(index) + 1
	return n < p.depth || n == p.depth && n < p.position
}

// messages is GET /rooms/{room}/messages. Dendrite (0.15) fetches what it lacks from
// other servers for a user who reads at the beginning of a room.
func (s *Server) messages(q *request) (any, error) {
	r, visible, err := s.reads(q)
	if err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(q.query("limit"))
	if err != nil || limit <= 0 {
		limit = 10
	}
	limit = min(limit, 1000)
	from, err := s.place(q.query("from"))
	if err != nil {
		return nil, err
	}
	forwards := q.query("dir") == "f"
	if q.query("from") != "" && !from.after(0) && !forwards {
		s.reveal(r)
	}
	chunk, end, more := []any{}, "", false
	for i := range r.events {
		if !forwards {
			i = len(r.events) - 1 - i
		}
		wanted := from.after(i)
		if forwards {
			wanted = q.query("from") == "" || !from.after(i)
		}
		if !visible[i] || !wanted {
			continue
		}
		if len(chunk) == limit {
			more = true
			break
		}
		chunk = append(chunk, s.shown(r, r.events[i], false))
		if end = s.token(i + 1); forwards {
			end = s.token(i + 2)
		}
	}
	out := map[string]any{"start": q.query("from"), "chunk": chunk}
	if more || forwards && end != "" { // "If no further events are available … this property is omitted"
		out["end"] = end
	}
	return s.fits(out)
}

// fits fails if a response is nested too deep to be read, as Dendrite (0.15) does.
func (s *Server) fits(out any) (any, error) {
	data := encode(out)
	if depth(data) > maxDepth {
		return nil, &apiError{http.StatusInternalServerError, "M_UNKNOWN", "internal server error", nil}
	}
	return data, nil
}

// relations is GET /rooms/{room}/relations/{event}/{rel}/{type}, newest first.
func (s *Server) relations(q *request) (any, error) {
	r, visible, err := s.reads(q)
	if err != nil {
		return nil, err
	}
	if r.byID[q.PathValue("event")] == nil {
		return nil, notFound("there is no such event")
	}
	from, err := s.place(q.query("from"))
	if err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(q.query("limit"))
	if err != nil || limit <= 0 {
		limit = 50
	}
	chunk, next := []any{}, ""
	for i := len(r.events) - 1; i >= 0; i-- {
		e := r.events[i]
		to := e.reference()
		if !visible[i] || !from.after(i) || to.Event != q.PathValue("event") || e.redaction != nil && e.redaction.at0(s) != unseen ||
			q.PathValue("rel") != "" && to.Type != q.PathValue("rel") || q.PathValue("type") != "" && e.kind != q.PathValue("type") {
			continue
		}
		if len(chunk) == limit {
			next = s.token(i + 2)
			break
		}
		chunk = append(chunk, s.shown(r, e, false))
	}
	out := map[string]any{"chunk": chunk}
	if next != "" {
		out["next_batch"] = next
	}
	return out, nil
}
