package hermetic

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the registration API is defined with it
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// user is an account.
type user struct {
	id, password string
	profile      map[string]string
	quiet        bool     // no notifications (push rule .m.rule.master)
	notified     []string // event IDs
	presence     string
	presentPos   []int64 // when it changed last, by server
}

func (s *Server) makeUser(id string) *user {
	u := &user{id: id, profile: map[string]string{}, presence: "offline"}
	s.users[id] = u
	return u
}

// newToken gives an account another access token.
func (s *Server) newToken(u *user) map[string]any {
	token := opaque()
	s.tokens[token] = u
	return map[string]any{"user_id": u.id, "access_token": token, "device_id": opaque()[:10], "home_server": s.Name}
}

const theNonce = "a nonce of a server of tests"

func (s *Server) nonce(*request) (any, error) { return map[string]any{"nonce": theNonce}, nil }

// registerShared is POST /_synapse/admin/v1/register (Synapse's documentation, "Shared-
// Secret Registration"), which Dendrite has, too.
func (s *Server) registerShared(q *request) (any, error) {
	var in struct {
		Nonce, Username, Password, Mac string
		Admin                          bool
	}
	if err := q.read(&in); err != nil {
		return nil, err
	}
	admin := "notadmin"
	if in.Admin {
		admin = "admin"
	}
	mac := hmac.New(sha1.New, []byte(s.Secret))
	_, _ = io.WriteString(mac, strings.Join([]string{in.Nonce, in.Username, in.Password, admin}, "\x00"))
	if in.Nonce != theNonce || subtle.ConstantTimeCompare([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(in.Mac)) != 1 {
		return nil, forbidden("the HMAC is wrong")
	}
	u, err := s.newAccount(in.Username)
	if err != nil {
		return nil, err
	}
	u.password = in.Password
	return s.newToken(u), nil
}

// localpart is what a new user ID may have before the colon (specification, "User
// identifiers").
var localpart = regexp.MustCompile(`^[a-z0-9._=/+-]+$`)

func (s *Server) newAccount(name string) (*user, error) {
	if !s.Traits.Synapse {
		name = strings.ToLower(name) // Dendrite does
	}
	id := "@" + name + ":" + s.Name
	switch {
	case !localpart.MatchString(name) || len(id) > 255:
		return nil, &apiError{http.StatusBadRequest, "M_INVALID_USERNAME", "the name has characters that names do not have", nil}
	case s.users[id] != nil:
		return nil, &apiError{http.StatusBadRequest, "M_USER_IN_USE", "the name is taken", nil}
	}
	return s.makeUser(id), nil
}

// register is POST /register for application services: people cannot register.
func (s *Server) register(q *request) (any, error) {
	var in struct {
		Type, Username string
		Inhibit        bool `json:"inhibit_login"`
	}
	if err := q.read(&in); err != nil {
		return nil, err
	}
	if q.service == nil || in.Type != "m.login.application_service" {
		return nil, forbidden("registration is switched off")
	}
	if id := "@" + in.Username + ":" + s.Name; !q.service.owns(id) {
		return nil, &apiError{http.StatusBadRequest, "M_EXCLUSIVE", id + " is not the application service's", nil}
	}
	if name := "@" + in.Username + ":" + s.Name; name == q.service.sender && s.users[name] == nil {
		s.makeUser(name)
		return map[string]any{"user_id": name}, nil
	}
	u, err := s.newAccount(in.Username)
	if err != nil {
		return nil, err
	}
	if in.Inhibit {
		return map[string]any{"user_id": u.id, "home_server": s.Name}, nil
	}
	return s.newToken(u), nil
}

func (s *Server) login(q *request) (any, error) {
	var in struct {
		Type       string
		Password   string
		Identifier struct{ User string }
	}
	if err := q.read(&in); err != nil {
		return nil, err
	}
	id := in.Identifier.User
	if !strings.HasPrefix(id, "@") {
		id = "@" + id + ":" + s.Name
	}
	u := s.users[id]
	if in.Type != "m.login.password" || u == nil || u.password == "" || u.password != in.Password {
		return nil, forbidden("the name or the password is wrong")
	}
	return s.newToken(u), nil
}

func (s *Server) whoami(q *request) (any, error) {
	return map[string]any{"user_id": q.user.id, "is_guest": false}, nil
}

// versions returns what each kind claims: Dendrite 0.15 has not gone beyond v1.2.
func (s *Server) versions(*request) (any, error) {
	list := []string{"r0.6.1", "v1.1", "v1.2"}
	if s.Traits.Synapse {
		list = append(list, "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12")
	}
	return map[string]any{"versions": list, "unstable_features": map[string]bool{"org.matrix.msc3916.stable": true}}, nil
}

func (s *Server) capabilities(*request) (any, error) {
	return map[string]any{"capabilities": map[string]any{"m.room_versions": map[string]any{
		"default": s.newVersion(), "available": map[string]string{"10": "stable", "11": "stable", "12": "stable"},
	}}}, nil
}

// newVersion returns the version of rooms whose creator names none: Dendrite 0.15
// has 10 by default, Synapse 1.157 has 11.
func (s *Server) newVersion() string {
	switch {
	case s.RoomVersion != "":
		return s.RoomVersion
	case s.Traits.Synapse:
		return "11"
	}
	return "10"
}

// profile is GET /profile/{user}, for users of this server and of others.
func (s *Server) profile(q *request) (any, error) {
	id, field := q.PathValue("user"), q.PathValue("field")
	at, err := s.u.reach(q.Context(), serverOf(id))
	if err != nil && s.Traits.Synapse {
		return nil, &apiError{http.StatusBadGateway, "M_UNKNOWN", err.Error(), nil}
	}
	if err != nil {
		return nil, err
	}
	at.u.mu.Lock()
	u := at.users[id]
	at.u.mu.Unlock()
	if u == nil && at.asks(q.Context(), id) {
		at.u.mu.Lock()
		u = at.users[id]
		at.u.mu.Unlock()
	}
	if u == nil {
		return nil, notFound("there is no such user")
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	out := map[string]string{}
	for k, v := range u.profile {
		if field == "" || k == field {
			out[k] = v
		}
	}
	return out, nil
}

// asks has the application service create a user that is being looked up: GET
// /_matrix/app/v1/users/{user}.
func (s *Server) asks(ctx context.Context, id string) bool {
	s.u.mu.Lock()
	service, r := s.serviceOf(id), s.running
	s.u.mu.Unlock()
	if service == nil || r == nil {
		return false
	}
	return service.query(ctx, r, "users", id)
}

// setProfile is PUT /profile/{user}/{field}; the user's rooms are updated.
func (s *Server) setProfile(q *request) (any, error) {
	field := q.PathValue("field")
	var in map[string]string
	if err := q.read(&in); err != nil {
		return nil, err
	}
	if q.user.id != q.PathValue("user") {
		return nil, forbidden("the profile is another user's")
	}
	if s.Traits.Synapse && len([]rune(in[field])) > 256 && field == "displayname" {
		return nil, &apiError{http.StatusBadRequest, "M_UNKNOWN", "the name is longer than 256", nil}
	}
	if q.user.profile[field] == in[field] {
		return empty, nil
	}
	q.user.profile[field] = in[field]
	for _, r := range s.u.rooms {
		if r.membership(q.user.id) != "join" {
			continue
		}
		content := withField(r.state[key{"m.room.member", q.user.id}].content, field, in[field])
		s.u.add(r, &event{kind: "m.room.member", sender: q.user.id, stateKey: &q.user.id, content: content})
	}
	return empty, nil
}

// mute is PUT /pushrules/global/override/.m.rule.master/enabled.
func (s *Server) mute(q *request) (any, error) {
	var in struct{ Enabled bool }
	if err := q.read(&in); err != nil {
		return nil, err
	}
	q.user.quiet = in.Enabled
	return empty, nil
}

// maxNotified bounds the notifications kept for a user.
const maxNotified = 1000

// notify stores a notification for everybody in the room except the sender. Dendrite
// (0.15) also does so for users of application services; Synapse does not.
func (s *Server) notify(r *room, e *event) {
	if e.stateKey != nil {
		return
	}
	for id, u := range s.users {
		if u.quiet || id == e.sender || s.Traits.Synapse && s.serviceOf(id) != nil || len(u.notified) >= maxNotified {
			continue
		}
		if r.membership(id) == "join" {
			u.notified = append(u.notified, e.id)
		}
	}
}

func (s *Server) notifications(q *request) (any, error) {
	list := []map[string]any{}
	for _, id := range q.user.notified {
		list = append(list, map[string]any{"event": map[string]string{"event_id": id}, "ts": time.Now().UnixMilli()})
	}
	return map[string]any{"notifications": list}, nil
}

// memberContent returns the content of a membership of one of this server's users.
func (s *Server) memberContent(id, membership string) map[string]any {
	c := map[string]any{"membership": membership}
	if u := s.users[id]; u != nil {
		for k, v := range u.profile {
			if v != "" {
				c[k] = v
			}
		}
	}
	return c
}
