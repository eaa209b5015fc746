package hermetic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// An apiError is a standard error response of the Client-Server API.
type apiError struct {
	status     int
	code, text string
	extra      map[string]any
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.text) }

func forbidden(format string, args ...any) error {
	return &apiError{http.StatusForbidden, "M_FORBIDDEN", fmt.Sprintf(format, args...), nil}
}

func notFound(what string) error {
	return &apiError{http.StatusNotFound, "M_NOT_FOUND", what, nil}
}

func badJSON(err error) error {
	return &apiError{http.StatusBadRequest, "M_BAD_JSON", err.Error(), nil}
}

// request is an authenticated request.
type request struct {
	*http.Request
	w    http.ResponseWriter
	user *user
	body json.RawMessage
	// service is the application service that sent it, or nil.
	service *service
}

// read decodes the body.
func (q *request) read(out any) error {
	if len(q.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(q.body, out); err != nil {
		return badJSON(err)
	}
	return nil
}

// query returns a parameter of the URL.
func (q *request) query(name string) string { return q.URL.Query().Get(name) }

// handler handles a request. Its result is written as JSON, unless it is nil: then the
// handler has written the response itself.
type handler func(q *request) (any, error)

// maxBody bounds the body of a request that is not an upload.
const maxBody = 1 << 20

// locked is a handler that runs under the universe's lock.
func (s *Server) locked(h handler) handler {
	return func(q *request) (any, error) {
		s.u.mu.Lock()
		defer s.u.mu.Unlock()
		return h(q)
	}
}

// open serves requests that need no token.
func (s *Server) open(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := &request{Request: r, w: w}
		var err error
		if q.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			s.answer(w, nil, badJSON(err))
			return
		}
		out, err := h(q)
		s.answer(w, out, err)
	}
}

// known serves requests with a token.
func (s *Server) known(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := &request{Request: r, w: w}
		if err := s.authenticate(q); err != nil {
			s.answer(w, nil, err)
			return
		}
		if wait, refused := s.rude.refuses(q); refused {
			s.answer(w, nil, &apiError{http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "too fast", map[string]any{"retry_after_ms": wait}})
			return
		}
		if !isUpload(r) {
			var err error
			if q.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
				s.answer(w, nil, badJSON(err))
				return
			}
		}
		out, err := h(q)
		if s.rude.hangsUp(q) {
			panic(http.ErrAbortHandler) // it is done, but gets no response
		}
		if out != nil || err != nil {
			s.answer(w, out, err)
		}
	}
}

func isUpload(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/upload") }

// authenticate finds out who sent a request. The application service acts for its
// users with ?user_id= (Application Service API, "Identity assertion").
func (s *Server) authenticate(q *request) error {
	token, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = q.query("access_token")
	}
	if token == "" {
		return &apiError{http.StatusUnauthorized, "M_MISSING_TOKEN", "an access token is needed", nil}
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	at := slices.IndexFunc(s.services, func(v *service) bool { return v.asToken == token })
	if at < 0 {
		if q.user = s.tokens[token]; q.user == nil {
			return &apiError{http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "the access token is unknown", nil}
		}
		return nil
	}
	q.service = s.services[at]
	id := q.query("user_id")
	if id == "" {
		id = q.service.sender
	}
	q.user = s.users[id]
	switch {
	case !q.service.owns(id):
		return forbidden("the application service may not act for %s", id)
	case q.user == nil && id == q.service.sender: // both servers create it on their own
		q.user = s.makeUser(id)
	case q.user == nil:
		return forbidden("Application service has not registered this user (%s)", id) // as Synapse says it
	}
	return nil
}

func (s *Server) answer(w http.ResponseWriter, out any, err error) {
	status := http.StatusOK
	if err != nil {
		var e *apiError
		if !errors.As(err, &e) {
			e = &apiError{http.StatusInternalServerError, "M_UNKNOWN", err.Error(), nil}
		}
		body := map[string]any{"errcode": e.code, "error": e.text}
		for k, v := range e.extra {
			body[k] = v
		}
		status, out = e.status, body
	}
	data, ok := out.(json.RawMessage)
	if !ok {
		data = encode(out)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// empty is the response {}.
var empty = map[string]any{}

// routes returns all endpoints of the server. {v} is a version of the API: the paths are
// the same in all.
func (s *Server) routes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("/", s.open(func(*request) (any, error) {
		return nil, &apiError{http.StatusNotFound, "M_UNRECOGNIZED", "there is no such request", nil}
	}))
	m.HandleFunc("GET /_matrix/client/versions", s.open(s.versions))
	m.HandleFunc("GET /_synapse/admin/v1/register", s.open(s.locked(s.nonce)))
	m.HandleFunc("POST /_synapse/admin/v1/register", s.open(s.locked(s.registerShared)))
	m.HandleFunc("POST /_matrix/client/{v}/login", s.open(s.locked(s.login)))
	for path, h := range map[string]handler{
		"POST /register":                                        s.locked(s.register),
		"GET /account/whoami":                                   s.locked(s.whoami),
		"GET /capabilities":                                     s.capabilities,
		"GET /profile/{user}":                                   s.profile,
		"GET /profile/{user}/{field}":                           s.profile,
		"PUT /profile/{user}/{field}":                           s.locked(s.setProfile),
		"GET /notifications":                                    s.locked(s.notifications),
		"PUT /presence/{user}/status":                           s.locked(s.setPresence),
		"GET /presence/{user}/status":                           s.locked(s.getPresence),
		"POST /createRoom":                                      s.createRoom,
		"POST /join/{room}":                                     s.join,
		"GET /joined_rooms":                                     s.locked(s.joinedRooms),
		"GET /sync":                                             s.sync,
		"GET /publicRooms":                                      s.publicRooms,
		"POST /publicRooms":                                     s.publicRooms,
		"GET /directory/room/{alias}":                           s.resolveAlias,
		"PUT /directory/room/{alias}":                           s.locked(s.setAlias),
		"DELETE /directory/room/{alias}":                        s.locked(s.deleteAlias),
		"PUT /directory/list/room/{room}":                       s.locked(s.list),
		"POST /appservice/{id}/ping":                            s.pingService,
		"GET /media/config":                                     s.mediaConfig,
		"GET /media/download/{server}/{id}":                     s.download,
		"GET /media/download/{server}/{id}/{name}":              s.download,
		"PUT /pushrules/global/override/.m.rule.master/enabled": s.locked(s.mute),

		"POST /rooms/{room}/join":                          s.join,
		"POST /rooms/{room}/invite":                        s.invite,
		"POST /rooms/{room}/leave":                         s.locked(s.leave),
		"POST /rooms/{room}/forget":                        s.locked(s.nothing),
		"POST /rooms/{room}/kick":                          s.locked(s.kick),
		"POST /rooms/{room}/ban":                           s.locked(s.ban),
		"POST /rooms/{room}/unban":                         s.locked(s.unban),
		"POST /rooms/{room}/upgrade":                       s.upgrade,
		"GET /rooms/{room}/state":                          s.locked(s.allState),
		"GET /rooms/{room}/state/{type}":                   s.locked(s.getState),
		"GET /rooms/{room}/state/{type}/{key...}":          s.locked(s.getState),
		"PUT /rooms/{room}/state/{type}":                   s.locked(s.putState),
		"PUT /rooms/{room}/state/{type}/{key...}":          s.locked(s.putState),
		"GET /rooms/{room}/members":                        s.locked(s.members),
		"GET /rooms/{room}/joined_members":                 s.locked(s.joinedMembers),
		"GET /rooms/{room}/messages":                       s.locked(s.messages),
		"GET /rooms/{room}/event/{event}":                  s.locked(s.oneEvent),
		"GET /rooms/{room}/relations/{event}":              s.locked(s.relations),
		"GET /rooms/{room}/relations/{event}/{rel}":        s.locked(s.relations),
		"GET /rooms/{room}/relations/{event}/{rel}/{type}": s.locked(s.relations),
		"PUT /rooms/{room}/send/{type}/{txn}":              s.locked(s.send),
		"PUT /rooms/{room}/redact/{event}/{txn}":           s.locked(s.redact),
		"PUT /rooms/{room}/typing/{user}":                  s.locked(s.setTyping),
		"POST /rooms/{room}/receipt/{kind}/{event}":        s.locked(s.setReceipt),
		"POST /rooms/{room}/read_markers":                  s.locked(s.nothing),
	} {
		method, rest, _ := strings.Cut(path, " ")
		m.HandleFunc(method+" /_matrix/client/{v}"+rest, s.known(h))
	}
	for path, h := range map[string]handler{
		"POST /upload":                       s.upload,
		"GET /config":                        s.mediaConfig,
		"GET /download/{server}/{id}":        s.download,
		"GET /download/{server}/{id}/{name}": s.download,
	} {
		method, rest, _ := strings.Cut(path, " ")
		m.HandleFunc(method+" /_matrix/media/{v}"+rest, s.known(h))
	}
	return m
}

func (s *Server) nothing(*request) (any, error) { return empty, nil }
