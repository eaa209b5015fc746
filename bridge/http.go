package bridge

import (
	"crypto/subtle"
	"net/http"
	"time"

	"appliance/bridge/ids"
)

// routes returns everything the bridge serves. The web server exposes the slash-command
// endpoints, the invitation hint (/hint/invite) and the console only; health and metrics are
// internal, status and the queue are for the operator.
func (s *service) routes() http.Handler {
	mux, queue := http.NewServeMux(), &queuePages{s.store, s.Log, s.relay.Wake}
	s.mx.Routes(mux)
	s.front.Routes(mux)
	s.console.Routes(mux)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(index)) })
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /status", s.operator(s.status))
	mux.HandleFunc("POST /reload", s.operator(s.reloadNow))
	mux.HandleFunc("GET /queue", s.operator(queue.lanes))
	mux.HandleFunc("GET /queue/dead", s.operator(queue.deadLetters))
	mux.HandleFunc("POST /queue/dead/retry", s.operator(queue.retryDead))
	mux.HandleFunc("POST /queue/dead/drop", s.operator(queue.dropDead))
	mux.HandleFunc("GET /buried", s.operator(queue.deadLettersOfOld)) // the old names
	mux.HandleFunc("POST /buried/retry", s.operator(queue.retryDeadOfOld))
	mux.Handle("GET /metrics", s.metrics.Handler())
	return mux
}

// index is shown to those who open the address of the bridge in a browser.
const index = `The bridge between Rocket.Chat and Matrix.

/_appliance/   the console of the operator
/metrics       numbers for Prometheus
/livez         200 while it runs
/readyz        200 when it is connected to both sides
`

// operator admits only requests with config.OperatorToken.
func (s *service) operator(next http.HandlerFunc) http.HandlerFunc {
	want := []byte("Bearer " + s.operatorToken.Reveal())
	return func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "this is for the operator", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// Status is the response of GET /status.
type Status struct {
	Version    string    `json:"version"`
	Enabled    bool      `json:"enabled"`
	RocketChat bool      `json:"rocketchat_connected"`
	Matrix     bool      `json:"matrix_connected"`
	Waiting    int64     `json:"waiting"`
	Dead       int64     `json:"dead_letters"`
	OldDead    int64     `json:"buried"` // name of Dead in earlier releases
	Oldest     time.Time `json:"oldest_waiting,omitzero"`
	// Process is the name of this process among those that share the database, and
	// Replicas is their number; Reads means that this one reads the networks for all.
	Process  string `json:"process,omitempty"`
	Replicas int    `json:"replicas"`
	Reads    bool   `json:"reads"`
	// DoubtfulPuppets are Matrix users whose account in Rocket.Chat was not created
	// by the bridge.
	DoubtfulPuppets []ids.MXUser `json:"doubtful_puppets,omitempty"`
	// RocketChatVersion is the version of Rocket.Chat, and RocketChatProblem why it
	// currently accepts no messages, if so.
	RocketChatVersion string `json:"rocketchat_version,omitempty"`
	RocketChatProblem string `json:"rocketchat_problem,omitempty"`
	// ConfigError is why the newest bridge.yaml is not in force.
	ConfigError string `json:"config_error,omitempty"`
}

func (s *service) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.rc.Connected() || !s.mx.Connected() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (s *service) status(w http.ResponseWriter, r *http.Request) {
	b, err := s.store.Backlog(r.Context())
	if err != nil {
		noDatabase(w)
		return
	}
	st := Status{
		Version: s.Version, Enabled: s.current.Load().Enabled, RocketChat: s.rc.Connected(), Matrix: s.mx.Connected(),
		Waiting: b.Waiting, Dead: b.Dead, OldDead: b.Dead, Oldest: b.Oldest,
		Process: s.store.Process(), Replicas: s.store.Replicas(), Reads: s.reads.Load(),
		DoubtfulPuppets: s.relay.DoubtfulPuppets(), RocketChatVersion: s.rc.Version(), RocketChatProblem: s.rc.Problem(),
	}
	if why := s.refused.Load(); why != nil {
		st.ConfigError = *why
	}
	answerJSON(w, st)
}
