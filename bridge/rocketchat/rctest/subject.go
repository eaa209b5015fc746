package rctest

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"appliance/bridge/mustrun"
)

// A Subject is the server that a contract suite talks to: a polite Server, or the
// real Rocket.Chat that the environment names (see docs/testing.md). A suite
// creates everything there over REST and under names of its own, so that its tests
// can share the server.
type Subject struct {
	URL               string
	AdminName         string
	AdminPassword     string
	CreateTokenSecret string // "" when the server has none

	server *Server
	rest   rest
}

// NewSubject returns the server to talk to. If it is a simulator, configure is
// applied before it starts.
func NewSubject(tb testing.TB, configure ...func(*Server)) *Subject {
	tb.Helper()
	s := &Server{Polite: true}
	for _, f := range configure {
		f(s)
	}
	if s.choosesReal() {
		return newRealSubject(tb)
	}
	s.Start(tb)
	return &Subject{URL: s.URL, AdminName: AdminName, AdminPassword: AdminPassword, CreateTokenSecret: s.CreateTokenSecret, server: s,
		rest: rest{s.URL}}
}

func newRealSubject(tb testing.TB) *Subject {
	tb.Helper()
	takeTurn(tb, realURL(), false)
	s := &Subject{URL: realURL(), AdminName: os.Getenv("ROCKETCHAT_ADMIN"), AdminPassword: os.Getenv("ROCKETCHAT_PASSWORD"),
		CreateTokenSecret: realSecret(), rest: rest{realURL()}}
	if err := switchLimiterOff(); err != nil {
		tb.Fatalf("rctest: switch the limiter of %s off: %v", s.URL, err)
	}
	return s
}

// switchLimiterOff runs once per process.
var switchLimiterOff = sync.OnceValue(func() error {
	admin, err := realAdmin()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return rest{realURL()}.ensureSettings(ctx, admin, limiterOff)
})

// Server returns the simulator for tests that control it, and skips them on a real
// server: because it would have to misbehave, or for the reason why.
func (s *Subject) Server(tb testing.TB, why ...string) *Server {
	tb.Helper()
	if s.server == nil {
		mustrun.Skip(tb, cmp.Or(append(why, misbehaves)...))
	}
	return s.server
}

// Expect returns how servers of its version behave.
func (s *Subject) Expect(tb testing.TB) Expect {
	tb.Helper()
	if s.server != nil {
		return s.server.Expect()
	}
	e, err := realExpect()
	if err != nil {
		tb.Fatalf("rctest: %v", err)
	}
	return e
}

// Name returns a name that is not in use on the server: letters, digits and "-".
func (s *Subject) Name(kind string) string {
	return kind + "-" + strconv.FormatUint(rand.Uint64(), 36)
}

// Admin signs in the administrator.
func (s *Subject) Admin(tb testing.TB) Person {
	tb.Helper()
	if s.server != nil {
		return s.server.Admin()
	}
	p, err := realAdmin()
	if err != nil {
		tb.Fatalf("rctest: sign in the administrator of %s: %v", s.URL, err)
	}
	return p
}

// Puppet creates a user as the bridge does, with the roles user and bot.
func (s *Subject) Puppet(tb testing.TB) Person { tb.Helper(); return s.Person(tb, "user", "bot") }

// Person creates a user with roles and a token. The password is the username.
func (s *Subject) Person(tb testing.TB, roles ...string) Person {
	tb.Helper()
	admin, name := s.Admin(tb), s.Name("person")
	p, err := s.rest.createUser(tb.Context(), admin, name, "Person "+name, false, roles...)
	if err != nil {
		tb.Fatalf("rctest: %v", err)
	}
	if p, err = s.rest.signIn(tb.Context(), admin, p, s.CreateTokenSecret); err != nil {
		tb.Fatalf("rctest: sign in %s: %v", name, err)
	}
	return p
}
