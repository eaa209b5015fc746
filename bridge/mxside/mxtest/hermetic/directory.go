package hermetic

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// publicRooms is GET and POST /publicRooms, for this server or another one.
func (s *Server) publicRooms(q *request) (any, error) {
	var in struct {
		Limit  int
		Filter struct {
			Term string `json:"generic_search_term"`
		}
	}
	if err := q.read(&in); err != nil {
		return nil, err
	}
	at := s
	if name := q.query("server"); name != "" {
		var err error
		if at, err = s.u.reach(q.Context(), name); err != nil && s.Traits.Synapse {
			return nil, &apiError{http.StatusBadGateway, "M_UNKNOWN", "Failed to fetch room list: " + err.Error(), nil}
		} else if err != nil {
			return nil, err // Dendrite: an internal error
		}
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	chunk := []any{}
	for id := range at.directory {
		r := s.u.rooms[id]
		name, topic, alias := r.field("m.room.name", "name"), r.field("m.room.topic", "topic"), r.field("m.room.canonical_alias", "alias")
		if !strings.Contains(strings.ToLower(name+" "+topic+" "+alias), strings.ToLower(in.Filter.Term)) || in.Limit > 0 && len(chunk) == in.Limit {
			continue
		}
		chunk = append(chunk, map[string]any{
			"room_id": id, "name": name, "topic": topic, "canonical_alias": alias, "num_joined_members": len(r.joined()),
			"world_readable": false, "guest_can_join": false, "join_rule": r.field("m.room.join_rules", "join_rule"),
		})
	}
	return map[string]any{"chunk": chunk, "total_room_count_estimate": len(chunk)}, nil
}

// lookUp returns the room of an alias, as the alias's own server knows it: that
// server asks the application service about an alias in its namespace that leads
// nowhere yet. r is nil if there is no room. The lock is not held.
func (s *Server) lookUp(ctx context.Context, alias string) (r *room, at *Server, err error) {
	if at, err = s.u.reach(ctx, serverOf(alias)); err != nil {
		return nil, nil, &apiError{http.StatusBadGateway, "M_UNKNOWN", err.Error(), nil}
	}
	look := func() (*room, *service, *running) {
		s.u.mu.Lock()
		defer s.u.mu.Unlock()
		for _, v := range at.services {
			if matches(v.aliases, alias) {
				return s.u.aliases[alias], v, at.running
			}
		}
		return s.u.aliases[alias], nil, at.running
	}
	r, service, runs := look()
	if r == nil && service != nil && runs != nil && service.query(ctx, runs, "rooms", alias) {
		r, _, _ = look()
	}
	return r, at, nil
}

// resolveAlias is GET /directory/room/{alias}.
func (s *Server) resolveAlias(q *request) (any, error) {
	r, _, err := s.lookUp(q.Context(), q.PathValue("alias"))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, notFound("there is no room of this alias")
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	servers := []string{}
	for _, at := range s.u.servers {
		if r.has(at.Name) {
			servers = append(servers, at.Name)
		}
	}
	return map[string]any{"room_id": r.id, "servers": servers}, nil
}

// setAlias is PUT /directory/room/{alias}. Aliases in the application service's exclusive
// namespace belong to it.
func (s *Server) setAlias(q *request) (any, error) {
	var in struct {
		Room string `json:"room_id"`
	}
	if err := q.read(&in); err != nil {
		return nil, err
	}
	alias, r := q.PathValue("alias"), s.u.rooms[in.Room]
	switch {
	case serverOf(alias) != s.Name || r == nil:
		return nil, forbidden("not this alias, or not for this room")
	case q.service != nil && !matches(q.service.aliases, alias), s.isOthers(q.service, alias):
		return nil, &apiError{http.StatusBadRequest, "M_EXCLUSIVE", "the alias is in another namespace", nil}
	case s.u.aliases[alias] != nil:
		return nil, &apiError{http.StatusConflict, "M_UNKNOWN", "the alias is taken", nil}
	}
	s.u.aliases[alias] = r
	return empty, nil
}

// isOthers reports whether an alias is in the exclusive namespace of an application
// service other than the one that asks, which may be nil.
func (s *Server) isOthers(asks *service, alias string) bool {
	return slices.ContainsFunc(s.services, func(v *service) bool { return v != asks && matches(v.exclusive, alias) })
}

// deleteAlias is DELETE /directory/room/{alias}.
func (s *Server) deleteAlias(q *request) (any, error) {
	alias := q.PathValue("alias")
	switch {
	case s.u.aliases[alias] == nil || serverOf(alias) != s.Name:
		return nil, notFound("there is no such alias")
	case q.service != nil && !matches(q.service.aliases, alias):
		return nil, forbidden("the alias is another user's")
	}
	delete(s.u.aliases, alias)
	return empty, nil
}

// list is PUT /directory/list/room/{room}.
func (s *Server) list(q *request) (any, error) {
	var in struct{ Visibility string }
	if err := q.read(&in); err != nil {
		return nil, err
	}
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	if r.membership(q.user.id) != "join" {
		return nil, forbidden("%s is not in the room", q.user.id)
	}
	if delete(s.directory, r.id); in.Visibility != "private" {
		s.directory[r.id] = true
	}
	return empty, nil
}
