package mxside

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"appliance/bridge/ids"
	"appliance/bridge/secret"
)

// maxTransaction bounds how much of a transaction is read: a hundred events of the
// largest size, with room to spare.
const maxTransaction = 32 << 20

// appService handles the requests of the homeserver and the web server.
type appService struct {
	traits    Traits
	token     secret.String // with which the homeserver authenticates to the bridge
	strategy  strategy
	ephemeral *ephemeral
	hints     *hints
	person    func(ctx context.Context, user ids.MXUser) (bool, error)
	alias     func(ctx context.Context, alias string) (bool, error)
	log       *slog.Logger
}

// routes adds the endpoints that the homeserver calls (Application Service API), and
// the one for the web server's hint that another server is inviting one of our users.
func (a *appService) routes(mux *http.ServeMux) {
	mux.HandleFunc("PUT /_matrix/app/v1/transactions/{txn}", a.authorised(a.transaction))
	mux.HandleFunc("GET /_matrix/app/v1/users/{user}", a.authorised(a.user))
	mux.HandleFunc("GET /_matrix/app/v1/rooms/{alias}", a.authorised(a.room))
	mux.HandleFunc("POST /_matrix/app/v1/ping", a.authorised(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "", "") }))
	mux.HandleFunc("/hint/invite", a.hints.serve)
}

// authorised admits only requests from the homeserver.
func (a *appService) authorised(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			token = r.URL.Query().Get("access_token")
		}
		if subtle.ConstantTimeCompare([]byte(token), []byte(a.token.Reveal())) != 1 {
			answer(w, http.StatusForbidden, "M_FORBIDDEN", "the token is not the homeserver's")
			return
		}
		next(w, r)
	}
}

// transaction stores events and only then responds. Dendrite resends a transaction
// under the same ID with more events in it, so events are recognised by their own
// ID and the transaction's means nothing.
func (a *appService) transaction(w http.ResponseWriter, r *http.Request) {
	var txn struct {
		Events    []json.RawMessage `json:"events"`
		Ephemeral []json.RawMessage `json:"ephemeral"`
		// The unstable name, which Synapse used before 1.157.
		Unstable []json.RawMessage `json:"de.sorunome.msc2409.ephemeral"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTransaction)).Decode(&txn); err != nil {
		a.settle(w, http.StatusBadRequest, "M_BAD_JSON", err.Error())
		return
	}
	if len(txn.Ephemeral) == 0 {
		txn.Ephemeral = txn.Unstable
	}
	a.ephemeral.receive(r.Context(), txn.Ephemeral, "")
	if status, why := a.strategy.take(r.Context(), r.PathValue("txn"), txn.Events); status != http.StatusOK {
		a.settle(w, status, "M_UNKNOWN", why)
		return
	}
	a.settle(w, http.StatusOK, "", "")
}

// settle responds to a transaction, with the object that the specification requires
// unless the homeserver leaks it; see Traits.LeaksAnswers.
func (a *appService) settle(w http.ResponseWriter, status int, code, text string) {
	if a.traits.LeaksAnswers {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	answer(w, status, code, text)
}

// user handles GET /users/{user}: whether one of our addresses exists.
func (a *appService) user(w http.ResponseWriter, r *http.Request) {
	ok, err := a.person(r.Context(), ids.MXUser(r.PathValue("user")))
	switch {
	case err != nil:
		a.log.Warn("a user could not be looked up", "mx_user", r.PathValue("user"), "err", err)
		answer(w, http.StatusServiceUnavailable, "M_UNKNOWN", "Rocket.Chat does not answer")
	case !ok:
		notFound(w, r)
	default:
		answer(w, http.StatusOK, "", "")
	}
}

// room handles GET /rooms/{alias}: whether one of our aliases leads to a room.
func (a *appService) room(w http.ResponseWriter, r *http.Request) {
	ok, err := a.alias(r.Context(), r.PathValue("alias"))
	switch {
	case err != nil:
		a.log.Warn("an alias could not be looked up", "alias", r.PathValue("alias"), "err", err)
		answer(w, http.StatusServiceUnavailable, "M_UNKNOWN", "Rocket.Chat does not answer")
	case !ok:
		notFound(w, r)
	default:
		answer(w, http.StatusOK, "", "")
	}
}
