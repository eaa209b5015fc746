package hermetic

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// setTyping is PUT /rooms/{room}/typing/{user}.
func (s *Server) setTyping(q *request) (any, error) {
	var in struct {
		Typing  bool
		Timeout int64
	}
	if err := q.read(&in); err != nil {
		return nil, err
	}
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	if q.user.id != q.PathValue("user") || r.membership(q.user.id) != "join" {
		return nil, forbidden("only for oneself, and in the room")
	}
	if _, types := r.typing[q.user.id]; types != in.Typing {
		defer s.u.tell(r, func(at *Server) { at.pushEphemeral(r, at.typingEvent(r)) })
	}
	if r.typing == nil {
		r.typing = map[string]time.Time{}
	}
	delete(r.typing, q.user.id)
	if !in.Typing {
		return empty, nil
	}
	wait := min(time.Duration(in.Timeout)*time.Millisecond, time.Minute)
	r.typing[q.user.id] = time.Now().Add(wait)
	time.AfterFunc(wait+10*time.Millisecond, func() { s.u.stopsTyping(r, q.user.id) })
	return empty, nil
}

// stopsTyping ends the typing of a user whose time is up.
func (u *Universe) stopsTyping(r *room, user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if until, types := r.typing[user]; types && time.Now().After(until) {
		delete(r.typing, user)
		u.tell(r, func(at *Server) { at.pushEphemeral(r, at.typingEvent(r)) })
	}
}

// tell records on each server of a room that a user started or stopped typing
// there, and calls more. The lock is held.
func (u *Universe) tell(r *room, more func(*Server)) {
	for len(r.typed) < len(u.servers) {
		r.typed = append(r.typed, 0)
	}
	for _, s := range u.servers {
		if r.has(s.Name) {
			s.clock++
			r.typed[s.index] = s.clock
			more(s)
		}
	}
	u.happened()
}

func (s *Server) typingEvent(r *room) map[string]any {
	users := slices.AppendSeq([]string{}, maps.Keys(r.typing))
	slices.Sort(users)
	return map[string]any{"type": "m.typing", "content": map[string]any{"user_ids": users}}
}

// setReceipt is POST /rooms/{room}/receipt/{kind}/{event}.
func (s *Server) setReceipt(q *request) (any, error) {
	r, err := s.room(q)
	if err != nil {
		return nil, err
	}
	if r.membership(q.user.id) != "join" {
		return nil, forbidden("%s is not in the room", q.user.id)
	}
	if q.PathValue("kind") != "m.read" { // private receipts are sent to nobody
		return empty, nil
	}
	if r.byID[q.PathValue("event")] == nil {
		return nil, notFound("there is no such event")
	}
	r.receipts = slices.DeleteFunc(r.receipts, func(old receipt) bool { return old.user == q.user.id })
	now := receipt{user: q.user.id, event: q.PathValue("event"), at: time.Now().UnixMilli(), pos: make([]int64, len(s.u.servers))}
	for _, at := range s.u.servers {
		if r.has(at.Name) {
			at.clock++
			now.pos[at.index] = at.clock
			at.pushEphemeral(r, receiptEvent(now))
		}
	}
	r.receipts = append(r.receipts, now)
	s.u.happened()
	return empty, nil
}

func receiptEvent(r receipt) map[string]any {
	return map[string]any{"type": "m.receipt", "content": map[string]any{
		r.event: map[string]any{"m.read": map[string]any{r.user: map[string]any{"ts": r.at}}},
	}}
}

// passing returns the ephemeral events of a room since a position.
func (s *Server) passing(r *room, f filter, since int64, first bool) []any {
	events := []any{}
	if f.Room.Ephemeral.want("m.typing") && s.index < len(r.typed) && (r.typed[s.index] > since || first && len(r.typing) > 0) {
		events = append(events, s.typingEvent(r))
	}
	if !f.Room.Ephemeral.want("m.receipt") {
		return events
	}
	for _, receipt := range r.receipts {
		if s.index < len(receipt.pos) && receipt.pos[s.index] > since {
			events = append(events, receiptEvent(receipt))
		}
	}
	return events
}

// setPresence is PUT /presence/{user}/status.
func (s *Server) setPresence(q *request) (any, error) {
	var in struct{ Presence string }
	if err := q.read(&in); err != nil {
		return nil, err
	}
	if q.user.id != q.PathValue("user") {
		return nil, forbidden("the presence is that of another user")
	}
	if !slices.Contains([]string{"online", "unavailable", "offline"}, in.Presence) {
		return nil, &apiError{http.StatusBadRequest, "M_UNKNOWN", "there is no such presence", nil}
	}
	if q.user.presence == in.Presence {
		return empty, nil
	}
	q.user.presence = in.Presence
	for len(q.user.presentPos) < len(s.u.servers) {
		q.user.presentPos = append(q.user.presentPos, 0)
	}
	for _, at := range s.u.servers {
		at.clock++
		q.user.presentPos[at.index] = at.clock
		if at.sharesWithService(q.user.id) {
			at.pushEphemeral(nil, presenceEvent(q.user))
		}
	}
	s.u.happened()
	return empty, nil
}

func (s *Server) getPresence(q *request) (any, error) {
	at := s.u.server(serverOf(q.PathValue("user")))
	if at == nil || at.users[q.PathValue("user")] == nil {
		return nil, notFound("there is no such user")
	}
	return map[string]any{"presence": at.users[q.PathValue("user")].presence}, nil
}

func presenceEvent(u *user) map[string]any {
	return map[string]any{"type": "m.presence", "sender": u.id, "content": map[string]any{"presence": u.presence}}
}

// presenceNews returns the presence changes of users who share a room with a user.
func (s *Server) presenceNews(u *user, f filter, since int64, first bool) []any {
	events := []any{}
	if !f.Presence.want("m.presence") {
		return events
	}
	for _, at := range s.u.servers {
		for _, other := range at.users {
			if s.index < len(other.presentPos) && other.presentPos[s.index] > since && (!first || other.presence != "offline") && s.share(u.id, other.id) {
				events = append(events, presenceEvent(other))
			}
		}
	}
	return events
}

// share reports whether two users share a room, or are the same.
func (s *Server) share(a, b string) bool {
	if a == b {
		return true
	}
	for _, r := range s.u.rooms {
		if r.membership(a) == "join" && r.membership(b) == "join" {
			return true
		}
	}
	return false
}

// sharesWithService reports whether a user is in a room with a user of an application
// service.
func (s *Server) sharesWithService(user string) bool {
	for _, r := range s.u.rooms {
		if r.membership(user) == "join" && slices.ContainsFunc(r.joined(), func(u string) bool { return s.serviceOf(u) != nil }) {
			return true
		}
	}
	return false
}
