package rctest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

	"appliance/bridge/rocketchat/rctest/sim"
)

// simulated is the simulator behind a local port.
type simulated struct {
	s      *Server
	tb     testing.TB
	sim    *sim.Engine
	rude   *sim.Rude
	addr   string
	http   *http.Server
	served chan struct{}
}

// newSimulated runs the simulator on a local port until the test ends.
func newSimulated(tb testing.TB, s *Server) *simulated {
	tb.Helper()
	h := &simulated{s: s, tb: tb}
	if !s.Polite {
		tb.Logf("rctest: Seed: %#x", s.Seed)
		h.rude = sim.NewRude(s.Seed)
	}
	l := h.listen("127.0.0.1:0")
	h.addr = l.Addr().String()
	s.URL, s.CreateTokenSecret = "http://"+h.addr, CreateTokenSecret
	h.sim = h.newEngine()
	h.serve(l)
	tb.Cleanup(func() {
		h.stop()
		if h.sim != nil {
			h.sim.Close()
		}
	})
	return h
}

func (h *simulated) listen(addr string) net.Listener {
	h.tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		h.tb.Fatalf("rctest: %v", err)
	}
	return l
}

func (h *simulated) newEngine() *sim.Engine {
	h.tb.Helper()
	env := h.environment()
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	record := os.Getenv("APPLIANCE_RECORD")
	if h.s.Unrecorded {
		record = ""
	}
	e, err := sim.New(sim.Options{Version: h.s.Version, Record: record, Env: func(k string) string { return env[k] }, Environ: list, Data: h.s.Data,
		Rude: h.rude, OnRequest: h.s.OnRequest, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.tb.Fatalf("rctest: %v", err)
	}
	return e
}

func (h *simulated) environment() map[string]string {
	env := map[string]string{"ROOT_URL": h.s.URL, "ADMIN_USERNAME": AdminName, "ADMIN_PASS": AdminPassword,
		"ADMIN_EMAIL": "admin@example.invalid", "CREATE_TOKENS_FOR_USERS": "true", "CREATE_TOKENS_FOR_USERS_SECRET": CreateTokenSecret,
		"OVERWRITE_SETTING_Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In": "false"}
	for id, v := range h.s.Settings {
		env["OVERWRITE_SETTING_"+id] = fmt.Sprint(v)
	}
	if h.s.Bridge {
		env["INITIAL_USER"] = botDocument()
	}
	for k, v := range h.s.Env {
		env[k] = v
	}
	return env
}

// The account of the bridge in the simulator.
const (
	botID    = "rcmxbridge0000001"
	botToken = "bridge-token-for-tests-0123456789abcdefghij"
)

// botDocument returns that account as INITIAL_USER, in the form that the renderer
// writes: with a personal access token and no password.
func botDocument() string {
	sum := sha256.Sum256([]byte(botToken))
	user, _ := json.Marshal(map[string]any{ // cannot fail
		"_id": botID, "username": BotName, "name": "Matrix bridge", "type": "bot", "active": true, "roles": botRoles,
		"services": map[string]any{"resume": map[string]any{"loginTokens": []map[string]any{{
			"type": "personalAccessToken", "name": "bridge", "createdAt": "2026-01-01T00:00:00.000Z", "lastTokenPart": "efghij",
			"hashedToken": base64.StdEncoding.EncodeToString(sum[:]), "bypassTwoFactor": true,
		}}}},
	})
	return string(user)
}

func (h *simulated) serve(l net.Listener) {
	h.http = &http.Server{Handler: h.sim, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served, server := make(chan struct{}), h.http
	h.served = served
	go func() {
		defer close(served)
		_ = server.Serve(l) // until it is closed
	}()
}

func (h *simulated) workspace() workspace { return h.sim }
func (h *simulated) engine() *sim.Engine  { return h.sim }

func (h *simulated) administrator() Person {
	h.tb.Helper()
	p, err := h.sim.Person(AdminName)
	if err != nil {
		h.tb.Fatalf("rctest: %v", err)
	}
	p.Password = AdminPassword
	return p
}

func (h *simulated) expect() (Expect, error) { return expectation(h.sim.Version()) }

func (h *simulated) bot() Person { return Person{ID: botID, Username: BotName, Token: botToken} }

func (h *simulated) stop() {
	if h.http == nil {
		return
	}
	_ = h.http.Close() // of local listeners and connections only
	<-h.served
	h.http = nil
	h.sim.DropConnections()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.sim.Idle(ctx); err != nil {
		h.tb.Errorf("rctest: websockets are still open: %v", err)
	}
	if h.s.Data != "" {
		h.sim.Close()
		h.sim = nil
	}
}

func (h *simulated) restart() {
	h.tb.Helper()
	l := h.listen(h.addr)
	if h.sim == nil {
		h.sim = h.newEngine()
	}
	h.serve(l)
}
