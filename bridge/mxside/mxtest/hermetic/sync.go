package hermetic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filter holds the supported parts of a filter.
type filter struct {
	Presence kinds `json:"presence"`
	Room     struct {
		Rooms    []string `json:"rooms"`
		Timeline struct {
			kinds
			Limit *int `json:"limit"`
		} `json:"timeline"`
		State     kinds `json:"state"`
		Ephemeral kinds `json:"ephemeral"`
	} `json:"room"`
}

// kinds are the wanted event types; nil means all of them.
type kinds struct {
	Types []string `json:"types"`
}

func (k kinds) want(kind string) bool { return k.Types == nil || slices.Contains(k.Types, kind) }

// defaultTimeline is how many events of a room a /sync returns without a filter.
const defaultTimeline = 20

// sync is GET /sync. It waits until there is something to return, or for ?timeout=.
func (s *Server) sync(q *request) (any, error) {
	var f filter
	if text := q.query("filter"); strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return nil, badJSON(err)
		}
	}
	since, first := int64(0), true
	if token := q.query("since"); token != "" {
		n, err := strconv.ParseInt(strings.TrimPrefix(token, "s"), 10, 64)
		if err != nil {
			return nil, &apiError{http.StatusBadRequest, "M_INVALID_PARAM", "since is no token of this server", nil}
		}
		since, first = n, false
	}
	wait, _ := strconv.Atoi(q.query("timeout"))
	ctx, cancel := context.WithTimeout(q.Context(), time.Duration(wait)*time.Millisecond)
	defer cancel()
	for {
		s.u.mu.Lock()
		out, something := s.news(q.user, f, since, first)
		changed := s.u.changed
		s.u.mu.Unlock()
		if something || first {
			return s.fits(out)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if q.Context().Err() != nil {
				return nil, q.Context().Err()
			}
			return s.fits(out)
		}
	}
}

// news returns what a /sync shows since a position. The lock is held.
func (s *Server) news(u *user, f filter, since int64, first bool) (any, bool) {
	join, invite, leave := map[string]any{}, map[string]any{}, map[string]any{}
	for id, r := range s.u.rooms {
		member := r.state[key{"m.room.member", u.id}]
		if member == nil || f.Room.Rooms != nil && !slices.Contains(f.Room.Rooms, id) || member.at0(s) == unseen {
			continue
		}
		switch changed := member.at0(s) > since; member.str("membership") {
		case "join":
			if shown := s.joinedNews(r, u, f, since, first); shown != nil {
				join[id] = shown
			}
		case "invite":
			if first || changed {
				invite[id] = map[string]any{"invite_state": map[string]any{"events": s.stripped(r, u.id)}}
			}
		case "leave", "ban":
			if !first && changed {
				leave[id] = map[string]any{"timeline": map[string]any{"events": []any{s.shown(r, member, true)}, "limited": false}}
			}
		}
	}
	there := s.presenceNews(u, f, since, first)
	out := map[string]any{
		"next_batch": fmt.Sprintf("s%d", s.clock),
		"presence":   map[string]any{"events": there},
		"rooms":      map[string]any{"join": join, "invite": invite, "leave": leave},
	}
	return out, len(join)+len(invite)+len(leave)+len(there) > 0
}

// joinedNews returns what is new in a room that the user is in, or nil.
func (s *Server) joinedNews(r *room, u *user, f filter, since int64, first bool) any {
	limit := defaultTimeline
	if n := f.Room.Timeline.Limit; n != nil {
		limit = max(1, *n)
	}
	visible := r.visible(u.id)
	all := first || s.joinedSince(r, u.id, since) // a user who has just joined also gets earlier events
	events, limited := []any{}, false
	at := len(r.events)
	for i := len(r.events) - 1; i >= 0; i-- {
		e := r.events[i]
		pos := e.at0(s)
		if pos == unseen || !visible[i] || !f.Room.Timeline.want(e.kind) || !all && pos <= since {
			continue
		}
		if len(events) == limit {
			limited = true
			break
		}
		events, at = append(events, s.shown(r, e, true)), i
	}
	slices.Reverse(events)
	passing := s.passing(r, f, since, first)
	if len(events) == 0 && len(passing) == 0 {
		return nil
	}
	state := []any{}
	if all {
		for k, e := range r.state {
			if e.index < at && f.Room.State.want(k.kind) {
				state = append(state, s.shown(r, e, true))
			}
		}
	}
	return map[string]any{
		"timeline":  map[string]any{"events": events, "limited": limited, "prev_batch": s.token(at + 1)},
		"state":     map[string]any{"events": state},
		"ephemeral": map[string]any{"events": passing},
	}
}

// joinedSince reports whether a user's membership became "join" after a position.
func (s *Server) joinedSince(r *room, user string, since int64) bool {
	for e := r.state[key{"m.room.member", user}]; e != nil && e.at0(s) > since; e = e.replaced {
		if e.replaced.str("membership") != "join" {
			return true
		}
	}
	return false
}

// stripped returns the state that an invited user sees (specification, "Stripped
// state"). Dendrite includes the invitation's ID, Synapse omits it.
func (s *Server) stripped(r *room, user string) []any {
	events := []any{}
	for _, k := range []key{
		{"m.room.create", ""}, {"m.room.name", ""}, {"m.room.avatar", ""}, {"m.room.topic", ""}, {"m.room.join_rules", ""},
		{"m.room.canonical_alias", ""}, {"m.room.encryption", ""}, {"m.room.member", user},
	} {
		e := r.state[k]
		if e == nil {
			continue
		}
		shown := map[string]any{"type": e.kind, "sender": e.sender, "state_key": *e.stateKey, "content": e.content}
		if !s.Traits.Synapse && k.kind == "m.room.member" {
			shown["event_id"], shown["origin_server_ts"] = e.id, e.at
		}
		events = append(events, shown)
	}
	return events
}
