package hermetic

import (
	"net/http"
	"slices"
	"strings"
)

// room returns the room of a request, if it exists. The lock is held.
func (s *Server) room(q *request) (*room, error) {
	r := s.u.rooms[q.PathValue("room")]
	if r == nil {
		return nil, forbidden("you are not in this room") // nobody learns what exists
	}
	return r, nil
}

// change changes a membership, if that is allowed. The lock is held.
func (s *Server) change(r *room, by, who string, content map[string]any) error {
	e := &event{kind: "m.room.member", sender: by, stateKey: &who, content: encode(content)}
	if err := r.authorise(e); err != nil {
		return err
	}
	s.u.add(r, e)
	return nil
}

// target reads the affected user and the reason from a request.
func target(q *request) (who string, reason string, err error) {
	var in struct {
		User   string `json:"user_id"`
		Reason string `json:"reason"`
	}
	if err := q.read(&in); err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(in.User, "@") || !strings.Contains(in.User, ":") || len(in.User) > 255 {
		return "", "", &apiError{http.StatusBadRequest, "M_INVALID_PARAM", "user_id is no user ID", nil}
	}
	return in.User, in.Reason, nil
}

func withReason(content map[string]any, reason string) map[string]any {
	if reason != "" {
		content["reason"] = reason
	}
	return content
}

// invite is POST /rooms/{room}/invite. The other server has to respond first.
func (s *Server) invite(q *request) (any, error) {
	who, reason, err := target(q)
	if err != nil {
		return nil, err
	}
	if _, err := s.u.reach(q.Context(), serverOf(who)); err != nil {
		return nil, s.unreachable(err)
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	return empty, s.inviteTo(r, q.user.id, who, reason, false)
}

// unreachable returns the error of each kind if the server of an invited user does
// not respond: Dendrite 403 with the error text of its HTTP client, Synapse 502.
func (s *Server) unreachable(err error) error {
	if s.Traits.Synapse {
		return &apiError{http.StatusBadGateway, "M_UNKNOWN", "Failed to send the invitation: " + err.Error(), nil}
	}
	return forbidden("%v", err)
}

func (s *Server) inviteTo(r *room, by, who, reason string, direct bool) error {
	content := map[string]any{"membership": "invite"}
	if at := s.u.server(serverOf(who)); at == s {
		content = s.memberContent(who, "invite")
	}
	if direct {
		content["is_direct"] = true
	}
	err := s.change(r, by, who, withReason(content, reason))
	return err
}

// join is POST /join/{room ID or alias} and POST /rooms/{room}/join.
func (s *Server) join(q *request) (any, error) {
	var in struct{ Reason string }
	if err := q.read(&in); err != nil {
		return nil, err
	}
	id := q.PathValue("room")
	vias := append(q.URL.Query()["server_name"], q.URL.Query()["via"]...)
	if strings.HasPrefix(id, "#") {
		r, at, err := s.lookUp(q.Context(), id)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, notFound("there is no room of this alias")
		}
		id, vias = r.id, append(vias, at.Name)
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	r := s.u.rooms[id]
	if r == nil || !s.finds(r, q.user.id, vias) {
		return nil, notFound("no server is known that is in this room")
	}
	if r.membership(q.user.id) == "join" { // nothing changes
		return map[string]any{"room_id": r.id}, nil
	}
	if err := s.change(r, q.user.id, q.user.id, withReason(s.memberContent(q.user.id, "join"), in.Reason)); err != nil {
		return nil, err
	}
	return map[string]any{"room_id": r.id}, nil
}

// finds reports whether the server can reach a server in the room: itself, the
// inviter's, or one that is named in the request or in the room's ID.
func (s *Server) finds(r *room, who string, vias []string) bool {
	if r.has(s.Name) {
		return true
	}
	if e := r.state[key{"m.room.member", who}]; e != nil && e.str("membership") == "invite" {
		vias = append(vias, serverOf(e.sender))
	}
	if name := serverOf(r.id); name != "" {
		vias = append(vias, name)
	}
	return slices.ContainsFunc(vias, func(name string) bool {
		at := s.u.server(name)
		return at != nil && at.running != nil && r.has(name)
	})
}

// leave is POST /rooms/{room}/leave. Dendrite (0.15) ignores a reason there.
func (s *Server) leave(q *request) (any, error) {
	var in struct{ Reason string }
	if err := q.read(&in); err != nil {
		return nil, err
	}
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	if !s.Traits.Synapse {
		in.Reason = ""
	}
	if r.membership(q.user.id) == "leave" {
		return empty, nil
	}
	err = s.change(r, q.user.id, q.user.id, withReason(map[string]any{"membership": "leave"}, in.Reason))
	return empty, err
}

// remove is a kick, a ban or an unban.
func (s *Server) remove(q *request, membership string, was ...string) (any, error) {
	who, reason, err := target(q)
	if err != nil {
		return nil, err
	}
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	if now := r.membership(who); len(was) > 0 && !slices.Contains(was, now) {
		return nil, forbidden("%s is not to be removed: the membership is %q", who, now)
	}
	err = s.change(r, q.user.id, who, withReason(map[string]any{"membership": membership}, reason))
	return empty, err
}

func (s *Server) kick(q *request) (any, error) {
	return s.remove(q, "leave", "join", "invite", "knock")
}
func (s *Server) ban(q *request) (any, error)   { return s.remove(q, "ban") }
func (s *Server) unban(q *request) (any, error) { return s.remove(q, "leave", "ban") }

func (s *Server) joinedRooms(q *request) (any, error) {
	rooms := []string{}
	for id, r := range s.u.rooms {
		if r.membership(q.user.id) == "join" {
			rooms = append(rooms, id)
		}
	}
	slices.Sort(rooms)
	return map[string]any{"joined_rooms": rooms}, nil
}

// seen returns a room and its state as a user sees it: the current state for members,
// the state at the time of leaving for those who have left.
func (s *Server) seen(q *request) (*room, map[key]*event, error) {
	r, err := s.room(q)
	if err != nil {
		return nil, nil, err
	}
	e := r.state[key{"m.room.member", q.user.id}]
	switch membership := e.str("membership"); {
	case membership == "join":
		return r, r.state, nil
	case (membership == "leave" || membership == "ban") && e.replaced.str("membership") == "join":
		return r, r.stateAt(e.index), nil
	}
	return nil, nil, forbidden("%s is not in the room", q.user.id)
}

// members is GET /rooms/{room}/members.
func (s *Server) members(q *request) (any, error) {
	r, state, err := s.seen(q)
	if err != nil {
		return nil, err
	}
	chunk := []any{}
	for k, e := range state {
		if m := e.str("membership"); k.kind == "m.room.member" && (q.query("membership") == "" || q.query("membership") == m) && (q.query("not_membership") == "" || q.query("not_membership") != m) {
			chunk = append(chunk, s.shown(r, e, false))
		}
	}
	return map[string]any{"chunk": chunk}, nil
}

func (s *Server) joinedMembers(q *request) (any, error) {
	r, _, err := s.seen(q)
	if err != nil {
		return nil, err
	}
	in := map[string]any{}
	for _, id := range r.joined() {
		e := r.state[key{"m.room.member", id}]
		in[id] = map[string]string{"display_name": e.str("displayname"), "avatar_url": e.str("avatar_url")}
	}
	return map[string]any{"joined": in}, nil
}
