package mxside_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/mxside"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
)

// asked is a homeserver that records its requests and responds with answers, by method
// and the end of the path, or with {} if there is none.
type asked struct {
	mu      sync.Mutex
	seen    []string
	answers map[string]func(http.ResponseWriter)
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what := r.Method + " " + r.URL.Path
	a.seen = append(a.seen, what)
	for end, write := range a.answers {
		if strings.HasSuffix(what, end) {
			write(w)
			return
		}
	}
	_, _ = io.WriteString(w, "{}")
}

func (a *asked) was(end string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, what := range a.seen {
		if strings.HasSuffix(what, end) {
			return true
		}
	}
	return false
}

// sideOf returns a side that takes its homeserver to be of a kind.
func sideOf(t *testing.T, kind string, a *asked) *mxside.Side {
	t.Helper()
	return sideOn(t, kind, a)
}

func sideOn(t *testing.T, kind string, server http.Handler) *mxside.Side {
	t.Helper()
	srv := httptest.NewServer(server)
	t.Cleanup(srv.Close)
	return sideAt(t, kind, srv.URL, nil)
}

// sideAt returns a side whose homeserver has the given address. db may be nil.
func sideAt(t *testing.T, kind, url string, db mxside.Store) *mxside.Side {
	t.Helper()
	s, err := mxside.New(mxside.Options{
		URL: url, Store: db, Kind: kind, ID: "rocketchat", ASToken: secret.New("as"), HSToken: secret.New("hs"),
		Names: ids.Namespace{Server: "home", Bot: "bot"}, Log: slog.New(slog.DiscardHandler), Live: func() config.Live { return config.Live{} },
		Accept: func(context.Context, []queue.Item, map[string]string) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func refuses(status int, code, why string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"errcode": code, "error": why})
	}
}

func TestAnUnknownKindOfHomeserverIsRefused(t *testing.T) {
	for _, kind := range []string{"", "conduit"} {
		if _, err := mxside.New(mxside.Options{Kind: kind}); err == nil {
			t.Errorf("%q is taken", kind)
		}
	}
	for _, kind := range config.Homeservers() {
		if _, err := mxside.TraitsOf(kind); err != nil {
			t.Error(err)
		}
	}
}

// A homeserver of an unknown kind is asked for nothing beyond the specification: it
// need not support pings.
func TestAGenericHomeserverIsAskedWhoTheBridgeIs(t *testing.T) {
	for name, c := range map[string]struct {
		ping, whoami func(http.ResponseWriter)
		connected    bool
	}{
		"it pings":             {connected: true},
		"it knows no pings":    {ping: refuses(404, "M_UNRECOGNIZED", "no"), connected: true},
		"it does not reach us": {ping: refuses(502, "M_CONNECTION_FAILED", "no")},
		"it does not know us":  {ping: refuses(404, "M_UNRECOGNIZED", "no"), whoami: refuses(401, "M_UNKNOWN_TOKEN", "no")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &asked{answers: map[string]func(http.ResponseWriter){}}
			if c.ping != nil {
				a.answers["/ping"] = c.ping
			}
			if c.whoami != nil {
				a.answers["/whoami"] = c.whoami
			}
			s := sideOf(t, mxtest.Generic, a)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Lead(ctx) }()
			asking := "/ping"
			if c.whoami != nil {
				asking = "/whoami"
			}
			mxtest.WaitFor(t, "the bridge to ask", func() bool { return a.was(asking) })
			if c.connected {
				mxtest.WaitFor(t, "the bridge to be connected", s.Connected)
			}
			cancel()
			if err := <-done; err != nil || s.Connected() != c.connected {
				t.Errorf("connected %v, %v", s.Connected(), err)
			}
			for _, more := range []string{"/sync", "/enabled", "/messages"} {
				if a.was(more) {
					t.Errorf("it was asked for %s", more)
				}
			}
		})
	}
}

// A trait changes the bridge's requests to the homeserver and its responses; a
// homeserver without any gets what the specification says.
func TestTraitsChangeWhatTheBridgeDoes(t *testing.T) {
	for _, kind := range config.Homeservers() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			traits := mxtest.TraitsOf(t, kind)
			a := &asked{answers: map[string]func(http.ResponseWriter){
				"/invite": refuses(403, "M_FORBIDDEN", "dial tcp: lookup far: no such host"),
				"/far/a-file": func(w http.ResponseWriter) {
					_, _ = io.WriteString(w, `{"Code":429,"JSON":{"errcode":"M_LIMIT_EXCEEDED"}}`)
				},
			}}
			s := sideOf(t, kind, a)
			if err := s.Register(t.Context(), "@alice:home", "Alice"); err != nil {
				t.Fatal(err)
			}
			if a.was("/.m.rule.master/enabled") != traits.KeepsNotifications {
				t.Errorf("notifications: switched off %v", !traits.KeepsNotifications)
			}
			if err := s.Refuse(t.Context(), "!r:home", "@alice:home", "a space"); err != nil {
				t.Fatal(err)
			}
			if a.was("/leave") == traits.DropsLeaveReason {
				t.Errorf("an invitation is declined with /leave: %v", !traits.DropsLeaveReason)
			}
			m, err := s.Download(t.Context(), "mxc://far/a-file", 1000, time.Second)
			if err == nil {
				_ = m.Body.Close()
			}
			if _, isWait := errors.AsType[*model.WaitError](err); isWait != traits.DisguisesErrors || !isWait && err != nil {
				t.Errorf("a file that looks like an error: %v", err)
			}
			if err := s.Invite(t.Context(), "!r:home", "@alice:home", "@bob:far"); errors.Is(err, model.ErrUnavailable) != traits.ForbidsUnreachable || err == nil {
				t.Errorf("an invitation that is forbidden: %v", err)
			}
			for _, text := range []string{`user "@alice:home" is not joined to the room (membership is "ban")`, `user "@alice:home" is not a member of room "!r:home"`} {
				twice := sideOf(t, kind, &asked{answers: map[string]func(http.ResponseWriter){"/leave": refuses(400, "M_UNKNOWN", text)}})
				if err := twice.Leave(t.Context(), "!r:home", "@alice:home"); errors.Is(err, model.ErrNotFound) != traits.RefusesToLeaveTwice || err == nil {
					t.Errorf("leaving a room a second time: %v", err)
				}
			}
			mux := http.NewServeMux()
			s.Routes(mux)
			answer := httptest.NewRecorder()
			request := httptest.NewRequest(http.MethodPut, "/_matrix/app/v1/transactions/a", strings.NewReader(`{"events":[]}`))
			request.Header.Set("Authorization", "Bearer hs")
			mux.ServeHTTP(answer, request)
			if answer.Code != http.StatusOK || json.Valid(answer.Body.Bytes()) == traits.LeaksAnswers {
				t.Errorf("a transaction is answered with %d %q", answer.Code, answer.Body)
			}
		})
	}
}
