package rctest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat/rctest/sim"
)

// realURL is the server that tests use instead of the simulator, or "".
func realURL() string { return strings.TrimRight(os.Getenv("ROCKETCHAT_URL"), "/") }

// realSecret is its CREATE_TOKENS_FOR_USERS_SECRET, or "".
func realSecret() string { return os.Getenv("ROCKETCHAT_CREATE_TOKENS_SECRET") }

// real is the Rocket.Chat that the environment names. One test at a time has it.
//
//	ROCKETCHAT_URL                    http://127.0.0.1:3000
//	ROCKETCHAT_ADMIN                  username of an administrator
//	ROCKETCHAT_PASSWORD               its password, also its second factor
//	ROCKETCHAT_CREATE_TOKENS_SECRET   CREATE_TOKENS_FOR_USERS_SECRET of that server, if it has one
//	ROCKETCHAT_CONTROL                a program that is run with "stop" and "start", for tests that
//	                                  kill the server
//	ROCKETCHAT_EMPTY                  "yes": remove also people that no test has made
type real struct {
	rest
	tb    testing.TB
	admin Person
	robot Person

	stopped bool // by the test, which calls stop and restart from one goroutine

	mu     sync.Mutex
	people map[string]Person // by username
	seers  map[string]Person // by room: a person who can see it
	before map[string]any    // settings as they were before the test
}

// limiterOff is set by every test: the limiter is meant for people, and one test covers it.
var limiterOff = map[string]any{"API_Enable_Rate_Limiter": false}

// newReal waits for the real server and empties it.
func newReal(tb testing.TB, s *Server) *real {
	tb.Helper()
	switch {
	case !s.Polite:
		mustrun.Skip(tb, "it needs a server that repeats, reorders, refuses and loses, which only the simulator does on request")
	case s.OnRequest != nil:
		mustrun.Skip(tb, misbehaves)
	case len(s.Env) > 0:
		mustrun.Skip(tb, "it starts the server with an environment of its own, which only the simulator takes")
	case s.Bridge && realSecret() == "":
		tb.Fatal("rctest: ROCKETCHAT_CREATE_TOKENS_SECRET is not set, and a bridge cannot speak for people without it")
	}
	takeTurn(tb, realURL(), true)
	r := &real{rest: rest{realURL()}, tb: tb, people: map[string]Person{}, seers: map[string]Person{}, before: map[string]any{}}
	s.URL, s.CreateTokenSecret = r.url, realSecret()
	var err error
	if r.admin, err = realAdmin(); err != nil {
		tb.Fatalf("rctest: sign in the administrator of %s: %v", r.url, err)
	}
	tb.Cleanup(r.restore)
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Minute)
	defer cancel()
	if err := r.prepare(ctx, s); err != nil {
		tb.Fatalf("rctest: empty %s: %v", r.url, err)
	}
	return r
}

func (r *real) prepare(ctx context.Context, s *Server) error {
	if err := r.ensure(ctx, limiterOff); err != nil {
		return err
	}
	if err := r.ensure(ctx, s.Settings); err != nil {
		return err
	}
	if err := r.empty(ctx); err != nil || !s.Bridge {
		return err
	}
	var err error
	r.robot, err = r.makeBot(ctx)
	return err
}

// ensureSettings changes the settings that differ.
func (r rest) ensureSettings(ctx context.Context, admin Person, settings map[string]any) error {
	for id, want := range settings {
		var now struct {
			Value any `json:"value"`
		}
		if err := r.call(ctx, admin, http.MethodGet, "settings/"+id, nil, &now); err != nil {
			return err
		}
		if reflect.DeepEqual(now.Value, want) {
			continue
		}
		if err := r.call(ctx, admin, http.MethodPost, "settings/"+id, map[string]any{"value": want}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *real) ensure(ctx context.Context, settings map[string]any) error {
	return r.ensureSettings(ctx, r.admin, settings)
}

// makeBot creates the bridge's account with the kind of token that an operator
// gives a bridge.
func (r *real) makeBot(ctx context.Context) (Person, error) {
	p, err := r.createUser(ctx, r.admin, BotName, "Matrix bridge", true, botRoles...)
	if err != nil {
		return p, err
	}
	if p, err = r.signIn(ctx, r.admin, p, realSecret()); err != nil {
		return p, err
	}
	var made struct {
		Token string `json:"token"`
	}
	err = r.call(ctx, p, http.MethodPost, "users.generatePersonalAccessToken", map[string]any{"tokenName": "bridge", "bypassTwoFactor": true}, &made)
	return Person{ID: p.ID, Username: p.Username, Token: made.Token}, err
}

// restore restores the settings that the test has changed.
func (r *real) restore() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.ensure(ctx, r.before); err != nil {
		r.tb.Errorf("rctest: put the settings back: %v", err)
	}
}

func (r *real) workspace() workspace  { return r }
func (r *real) engine() *sim.Engine   { return nil }
func (r *real) administrator() Person { return r.admin }
func (r *real) bot() Person           { return r.robot }

func (r *real) expect() (Expect, error) { return realExpect() }

// stop stops the server. If the test does not restart it, it is restarted when the test ends.
func (r *real) stop() {
	r.tb.Helper()
	r.control("stop")
	r.stopped = true
	r.tb.Cleanup(func() {
		if r.stopped {
			r.restart()
		}
	})
}

// restart starts the server and returns when it responds again.
func (r *real) restart() {
	r.tb.Helper()
	r.control("start")
	r.stopped = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.tb.Context()), 3*time.Minute)
	defer cancel()
	if err := r.Wait(ctx, func() bool { return r.call(ctx, r.admin, http.MethodGet, "me", nil, nil) == nil }); err != nil {
		r.tb.Fatalf("rctest: the server does not come back: %v", err)
	}
}

func (r *real) control(what string) {
	r.tb.Helper()
	program := os.Getenv("ROCKETCHAT_CONTROL")
	if program == "" {
		mustrun.Skip(r.tb, "it stops the server, and ROCKETCHAT_CONTROL names no program that does")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.tb.Context()), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, program, what).CombinedOutput(); err != nil { //nolint:gosec // named by who runs the tests
		r.tb.Fatalf("rctest: %s %s: %v: %s", program, what, err, out)
	}
}

// realAdmin signs in once per process: servers limit logins.
var realAdmin = sync.OnceValues(func() (Person, error) {
	name, password := os.Getenv("ROCKETCHAT_ADMIN"), os.Getenv("ROCKETCHAT_PASSWORD")
	if name == "" || password == "" {
		return Person{}, fmt.Errorf("ROCKETCHAT_ADMIN and ROCKETCHAT_PASSWORD are not set")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return rest{realURL()}.login(ctx, name, password)
})

// request bounds the time of one call that a test makes.
const request = time.Minute

// do makes a call as a person.
func (r *real) do(by Person, method, endpoint string, body, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), request)
	defer cancel()
	return r.call(ctx, by, method, endpoint, body, out)
}

// Wait polls ten times a second: nothing announces a change.
func (r *real) Wait(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
