package mxside

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
)

// maxTransaction bounds what is read of a transaction: a hundred events of the
// largest size, with room to spare.
const maxTransaction = 32 << 20

// Routes adds what the homeserver calls (Application Service API), and the hint
// that the web server gives when another server invites somebody of ours.
func (s *Side) Routes(mux *http.ServeMux) {
	mux.HandleFunc("PUT /_matrix/app/v1/transactions/{txn}", s.authorised(s.transaction))
	mux.HandleFunc("GET /_matrix/app/v1/users/{user}", s.authorised(s.user))
	mux.HandleFunc("GET /_matrix/app/v1/rooms/{alias}", s.authorised(s.room))
	mux.HandleFunc("POST /_matrix/app/v1/ping", s.authorised(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "", "") }))
	mux.HandleFunc("/hint/invite", s.hint)
}

// authorised lets only the homeserver in.
func (s *Side) authorised(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			token = r.URL.Query().Get("access_token")
		}
		if subtle.ConstantTimeCompare([]byte(token), []byte(s.HSToken.Reveal())) != 1 {
			answer(w, http.StatusForbidden, "M_FORBIDDEN", "the token is not the homeserver's")
			return
		}
		next(w, r)
	}
}

func answer(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body := map[string]string{}
	if code != "" {
		body = map[string]string{"errcode": code, "error": text}
	}
	_ = json.NewEncoder(w).Encode(body)
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusNotFound, "M_NOT_FOUND", "there is no such thing")
}

// transaction stores events and only then answers. Dendrite sends a transaction
// again under the same ID with more events in it, so events are recognised by
// their own ID and the transaction's means nothing.
func (s *Side) transaction(w http.ResponseWriter, r *http.Request) {
	var txn struct {
		Events []json.RawMessage `json:"events"`
		Signs  []json.RawMessage `json:"ephemeral"`
		// Signs as Synapse sent them before 1.157.
		OldSigns []json.RawMessage `json:"de.sorunome.msc2409.ephemeral"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTransaction)).Decode(&txn); err != nil {
		s.settle(w, http.StatusBadRequest, "M_BAD_JSON", err.Error())
		return
	}
	if len(txn.Signs) == 0 {
		txn.Signs = txn.OldSigns
	}
	s.signs(r.Context(), txn.Signs, "")
	take := s.take
	if number, err := strconv.ParseInt(r.PathValue("txn"), 10, 64); err == nil && s.traits.HoldsBack {
		take = func(ctx context.Context, events []json.RawMessage) (int, string) {
			return s.takeNumbered(ctx, number, events)
		}
	}
	if status, why := take(r.Context(), txn.Events); status != http.StatusOK {
		s.settle(w, status, "M_UNKNOWN", why)
		return
	}
	s.settle(w, http.StatusOK, "", "")
}

// take stores the events of a transaction. status is what the homeserver is to be
// answered, 200 once they are on disk.
func (s *Side) take(ctx context.Context, events []json.RawMessage) (status int, why string) {
	var items []queue.Item
	for _, raw := range events {
		if it, ok := s.item(raw, ""); ok {
			items = append(items, it)
		}
	}
	if len(items) == 0 {
		return http.StatusOK, ""
	}
	if s.sync.doubted() {
		if err := s.recover(ctx, items); err != nil {
			s.Log.Warn("a transaction is put off", "events", len(items), "err", err)
			return http.StatusServiceUnavailable, "what came before could not be read"
		}
	}
	if err := s.Accept(ctx, items, nil); err != nil {
		s.Log.Error("a transaction could not be stored", "events", len(items), "err", err)
		return http.StatusInternalServerError, "the events could not be stored"
	}
	s.mayHaveGaps(items)
	return http.StatusOK, ""
}

// takeNumbered is take for a homeserver that numbers its transactions; see held.
func (s *Side) takeNumbered(ctx context.Context, number int64, events []json.RawMessage) (status int, why string) {
	refuse, lacks := s.held.comes(number)
	if lacks {
		s.sync.overtook()
		s.held.want()
	}
	if refuse {
		s.held.refusedOne()
		return http.StatusServiceUnavailable, "again, please, with what came before"
	}
	if status, why = s.take(ctx, events); status != http.StatusOK {
		s.held.failed()
		return status, why
	}
	s.held.taken(number, events)
	return status, why
}

// settle answers a transaction, with the object that the specification asks for unless
// the homeserver leaks it; see Traits.LeaksAnswers.
func (s *Side) settle(w http.ResponseWriter, status int, code, text string) {
	if s.traits.LeaksAnswers {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	answer(w, status, code, text)
}

// user answers whether one of our addresses exists: GET /users/{user}.
func (s *Side) user(w http.ResponseWriter, r *http.Request) {
	ok, err := s.Person(r.Context(), ids.MXUser(r.PathValue("user")))
	switch {
	case err != nil:
		s.Log.Warn("an address could not be looked up", "user", r.PathValue("user"), "err", err)
		answer(w, http.StatusServiceUnavailable, "M_UNKNOWN", "Rocket.Chat does not answer")
	case !ok:
		notFound(w, r)
	default:
		answer(w, http.StatusOK, "", "")
	}
}

// item decides what an event is to the bridge. ok is false for our own echo and
// for what does not cross. room is given where the event does not name it.
func (s *Side) item(raw json.RawMessage, room ids.MXRoom) (queue.Item, bool) {
	e, err := convert.ParseEvent(raw)
	if err != nil || e.ID == "" || s.Names.Owns(ids.MXUser(e.Sender)) {
		return queue.Item{}, false
	}
	if room == "" {
		room = ids.MXRoom(e.Room)
	}
	if room == "" || tooLong(e.ID, e.Sender, e.StateKey, string(room)) {
		return queue.Item{}, false
	}
	it := queue.Item{ID: e.ID, Lane: relay.MXLane(room)}
	switch {
	case e.Type == "m.room.message", e.Type == "m.sticker":
		it.Kind = relay.KindMXMessage
	case e.Type == "m.reaction":
		it.Kind = relay.KindMXReact
	case e.Type == "m.room.redaction":
		it.Kind = relay.KindMXRedact
	case slices.Contains(convert.CallTypes, e.Type):
		it.Kind = relay.KindMXCall
	case isPoll(e.Type):
		it.Kind = relay.KindMXPoll
	case e.Type == "m.room.encrypted":
		it.Kind = relay.KindMXSecret
	case isRoomState(e.Type) && e.StateKey == "":
		it.Kind = relay.KindMXRoom
	case e.Type == "m.room.member" && s.Names.Owns(ids.MXUser(e.StateKey)):
		if e.Content.Membership != "invite" {
			it.Kind = relay.KindMXMember // somebody of ours was removed
			break
		}
		return relay.InvitationItem(e.ID, relay.Invitation{
			Room: room, Ghost: ids.MXUser(e.StateKey), Inviter: ids.MXUser(e.Sender), Direct: e.Content.Direct, Name: roomName(raw),
		}), true
	case e.Type == "m.room.member" && e.StateKey != "":
		it.Kind = relay.KindMXMember
	default:
		return queue.Item{}, false
	}
	it.Payload = withRoom(raw, e.Room, room)
	return it, true
}

// maxID is the longest identifier of Matrix, in bytes (specification, "Size
// limits").
const maxID = 255

// tooLong reports whether one of some identifiers cannot be one.
func tooLong(list ...string) bool {
	for _, id := range list {
		if len(id) > maxID {
			return true
		}
	}
	return false
}

// isPoll reports whether a type of event begins or ends a poll (MSC3381).
func isPoll(kind string) bool {
	switch kind {
	case "m.poll.start", "m.poll.end", "org.matrix.msc3381.poll.start", "org.matrix.msc3381.poll.end":
		return true
	}
	return false
}

// isRoomState reports whether a type of event is about a room as a whole.
func isRoomState(kind string) bool {
	switch kind {
	case "m.room.name", "m.room.topic", "m.room.avatar", "m.room.power_levels", "m.room.tombstone", "m.room.encryption", "m.room.pinned_events":
		return true
	}
	return false
}

// roomName returns the name of the room that an invitation is for, which Synapse
// adds to the event it pushes; "" when it is not there.
func roomName(invitation json.RawMessage) string {
	var with struct {
		Unsigned struct {
			State []json.RawMessage `json:"invite_room_state"`
		} `json:"unsigned"`
	}
	if json.Unmarshal(invitation, &with) != nil {
		return ""
	}
	for _, raw := range with.Unsigned.State {
		if e, err := convert.ParseEvent(raw); err == nil && e.Type == "m.room.name" {
			return e.Content.RoomName
		}
	}
	return ""
}

// withRoom puts the room into an event from /sync, which leaves it out.
func withRoom(raw json.RawMessage, has string, room ids.MXRoom) []byte {
	if has == string(room) {
		return raw
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return raw
	}
	m["room_id"], _ = json.Marshal(room) // a string cannot fail
	out, err := json.Marshal(m)
	if err != nil {
		return raw
	}
	return out
}
