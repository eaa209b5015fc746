package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"appliance/bridge/command"
	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

func TestMain(m *testing.M) { rctest.VerifyTestMain(m) }

// told counts the notices sent to callers.
type told struct{ n atomic.Int64 }

func (t *told) Tell(context.Context, model.RCPerson, string) error { t.n.Add(1); return nil }

func (t *told) Say(context.Context, ids.RCRoom, string) error { return nil }

// A counter is a command front before a Rocket.Chat server.
type counter struct {
	t   *testing.T
	rc  *rctest.Server
	url string
}

func open(t *testing.T, rc *rctest.Server) *counter {
	t.Helper()
	rc.Polite = true
	rc.Start(t)
	bot := rc.CreateUser("matrix-bridge", "bot", "admin")
	client := rocketchat.New(rc.URL, bot.ID, secret.New(bot.Token))
	front, err := command.NewFront(&command.Commands{
		Client: client, Answers: &told{}, Live: func() config.Live { return config.Live{} }, Log: slog.New(slog.DiscardHandler),
	}, rc.URL)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	front.Routes(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &counter{t: t, rc: rc, url: server.URL}
}

// help sends /bridge help as the web server forwards it from an address.
func (c *counter) help(address, userID, token string) (status int, retryAfter, said string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/api/v1/commands.run", strings.NewReader(`{"command":"bridge","params":"help","roomId":"GENERAL"}`))
	if err != nil {
		c.t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "X-User-Id": userID, "X-Auth-Token": token, "X-Forwarded-For": address, "X-Real-Ip": address} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Error(err)
		return 0, "", ""
	}
	defer func() { _ = res.Body.Close() }()
	defer http.DefaultClient.CloseIdleConnections()
	var body struct {
		Error string `json:"error"`
	}
	_ = json.NewDecoder(res.Body).Decode(&body)
	return res.StatusCode, res.Header.Get("Retry-After"), body.Error
}

// TestGuessersLockNobodyOut has strangers try made-up tokens against a Rocket.Chat that limits
// all callers together, as a remote one does. Real users still get answers.
func TestGuessersLockNobodyOut(t *testing.T) {
	asked := &atomic.Int64{}
	c := open(t, &rctest.Server{OnRequest: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/v1/me" {
			asked.Add(1)
		}
		return false
	}})
	carol, dave := c.rc.CreateUser("carol"), c.rc.CreateUser("dave")
	asked.Store(0)
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() { // for users that do not exist
			if status, _, said := c.help("192.0.2.9", fmt.Sprint("nobody", n), "guessed"); status != http.StatusUnauthorized {
				t.Errorf("a guess is answered %d: %s", status, said)
			}
		})
		wg.Go(func() { // and for one that does
			status, after, said := c.help("192.0.2.9", carol.ID, fmt.Sprint("guessed", n))
			if status != http.StatusUnauthorized && (status != http.StatusTooManyRequests || after == "" || !strings.HasPrefix(said, "too many requests, wait ")) {
				t.Errorf("a guess is answered %d, Retry-After %q: %s", status, after, said)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n == 0 || n > 4 {
		t.Errorf("Rocket.Chat was asked %d times about them", n)
	}
	if status, _, said := c.help("192.0.2.9", dave.ID, dave.Token); status != http.StatusOK {
		t.Errorf("dave, who shares their address, gets %d: %s", status, said)
	}
	if status, _, said := c.help("198.51.100.7", carol.ID, carol.Token); status != http.StatusOK {
		t.Errorf("carol, from elsewhere, gets %d: %s", status, said)
	}
	for range 30 { // valid and invalid tokens are cached now
		if status, _, said := c.help("198.51.100.7", carol.ID, carol.Token); status != http.StatusOK {
			t.Fatalf("carol gets %d: %s", status, said)
		}
	}
	if n := asked.Load(); n > 10 {
		t.Errorf("Rocket.Chat was asked %d times", n)
	}
}

// TestEverybodyHasALimitOfTheirOwn requires the callers' addresses to be forwarded
// to a Rocket.Chat that trusts its web server.
func TestEverybodyHasALimitOfTheirOwn(t *testing.T) {
	c := open(t, &rctest.Server{Env: map[string]string{"HTTP_FORWARDED_COUNT": "1"}})
	for n := range 25 {
		p := c.rc.CreateUser(fmt.Sprint("user", n))
		if status, _, said := c.help(fmt.Sprint("192.0.2.", n+1), p.ID, p.Token); status != http.StatusOK {
			t.Fatalf("the command of user %d: %d: %s", n, status, said)
		}
	}
}

func TestABusyRocketChatIsSaidToBeBusy(t *testing.T) {
	c := open(t, &rctest.Server{OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/v1/me" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"success":false,"error":"Error, too many requests. Please slow down. You must wait 7 seconds before trying this endpoint again. [error-too-many-requests]"}`)
		return true
	}})
	carol := c.rc.CreateUser("carol")
	status, after, said := c.help("192.0.2.1", carol.ID, carol.Token)
	if status != http.StatusTooManyRequests || after != "7" || !strings.Contains(said, "too many requests, wait 7 s") {
		t.Errorf("%d, Retry-After %q: %s", status, after, said)
	}
}
