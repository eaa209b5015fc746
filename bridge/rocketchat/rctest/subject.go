package rctest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Subject is the server that a contract suite talks to: a polite Server, or
// the real Rocket.Chat that the environment names. Whatever a suite makes there,
// it makes over REST and under names of its own, so that it can share the server.
//
//	ROCKETCHAT_URL                    http://127.0.0.1:3000
//	ROCKETCHAT_ADMIN                  username of an administrator without a second factor
//	ROCKETCHAT_PASSWORD               its password
//	ROCKETCHAT_CREATE_TOKENS_SECRET   CREATE_TOKENS_FOR_USERS_SECRET of that server, if it has one
type Subject struct {
	URL               string
	AdminName         string
	AdminPassword     string
	CreateTokenSecret string // "" when the server has none

	server *Server
}

// NewSubject returns the server to talk to. Where it is a simulator, configure
// sees it before it starts.
func NewSubject(tb testing.TB, configure ...func(*Server)) *Subject {
	tb.Helper()
	if u := os.Getenv("ROCKETCHAT_URL"); u != "" {
		return &Subject{URL: strings.TrimRight(u, "/"), AdminName: os.Getenv("ROCKETCHAT_ADMIN"),
			AdminPassword: os.Getenv("ROCKETCHAT_PASSWORD"), CreateTokenSecret: os.Getenv("ROCKETCHAT_CREATE_TOKENS_SECRET")}
	}
	s := &Server{Polite: true}
	for _, f := range configure {
		f(s)
	}
	s.Start(tb)
	return &Subject{URL: s.URL, AdminName: AdminName, AdminPassword: AdminPassword, CreateTokenSecret: CreateTokenSecret, server: s}
}

// Server returns the simulator for tests that tell it what to do, and skips them
// where the server is a real one.
func (s *Subject) Server(tb testing.TB) *Server {
	tb.Helper()
	if s.server == nil {
		Skip(tb, "it tells the server what to do, which only the simulator takes")
	}
	return s.server
}

// Skip skips a test whose needs are not met, unless APPLIANCE_MUST_RUN names it.
func Skip(tb testing.TB, why string) {
	tb.Helper()
	if slices.ContainsFunc(strings.Split(os.Getenv("APPLIANCE_MUST_RUN"), ","), func(n string) bool {
		return n != "" && strings.HasPrefix(tb.Name(), n)
	}) {
		tb.Fatalf("must run here, but: %s", why)
	}
	tb.Skip(why)
}

// Name returns a name that nothing on the server has: letters, digits and "-".
func (s *Subject) Name(kind string) string {
	return kind + "-" + strconv.FormatUint(rand.Uint64(), 36)
}

// Admin signs in the administrator.
func (s *Subject) Admin(tb testing.TB) Person {
	tb.Helper()
	if s.server != nil {
		return s.server.Admin()
	}
	p, err := realAdmin(s)
	if err != nil {
		tb.Fatalf("rctest: sign in the administrator of %s: %v", s.URL, err)
	}
	return p
}

// realAdmin signs in once: a real server limits logins.
var realAdmin = func() func(*Subject) (Person, error) {
	var mu sync.Mutex
	known := map[string]Person{}
	return func(s *Subject) (Person, error) {
		mu.Lock()
		defer mu.Unlock()
		if p, ok := known[s.URL]; ok {
			return p, nil
		}
		p, err := s.login(context.Background(), s.AdminName, s.AdminPassword)
		if err == nil {
			known[s.URL] = p
		}
		return p, err
	}
}()

// Puppet makes a user as the bridge makes them, with the roles user and bot.
func (s *Subject) Puppet(tb testing.TB) Person { tb.Helper(); return s.Person(tb, "user", "bot") }

// Person makes a user with roles and a token. The password is the username.
func (s *Subject) Person(tb testing.TB, roles ...string) Person {
	tb.Helper()
	admin, name := s.Admin(tb), s.Name("person")
	var made struct {
		User struct {
			ID string `json:"_id"`
		} `json:"user"`
	}
	err := s.post(tb.Context(), admin, "users.create", map[string]any{"username": name, "name": "Person " + name, "password": name,
		"email": name + "@example.invalid", "roles": roles, "verified": false, "joinDefaultChannels": false, "sendWelcomeEmail": false}, &made)
	if err != nil {
		tb.Fatalf("rctest: %v", err)
	}
	p, err := s.signIn(tb.Context(), admin, Person{ID: made.User.ID, Username: name, Password: name})
	if err != nil {
		tb.Fatalf("rctest: sign in %s: %v", name, err)
	}
	return p
}

// signIn prefers a token of the administrator's making, which no limit stops.
func (s *Subject) signIn(ctx context.Context, admin, p Person) (Person, error) {
	if s.CreateTokenSecret == "" {
		return s.login(ctx, p.Username, p.Password)
	}
	var out struct {
		Data struct {
			AuthToken string `json:"authToken"`
		} `json:"data"`
	}
	err := s.post(ctx, admin, "users.createToken", map[string]any{"userId": p.ID, "secret": s.CreateTokenSecret}, &out)
	p.Token = out.Data.AuthToken
	return p, err
}

func (s *Subject) login(ctx context.Context, username, password string) (Person, error) {
	var out struct {
		Data struct {
			UserID    string `json:"userId"`
			AuthToken string `json:"authToken"`
		} `json:"data"`
	}
	err := s.post(ctx, Person{}, "login", map[string]any{"username": username, "password": password}, &out)
	return Person{ID: out.Data.UserID, Username: username, Password: password, Token: out.Data.AuthToken}, err
}

// post calls an endpoint, again when the server limits calls.
func (s *Subject) post(ctx context.Context, by Person, endpoint string, body, out any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/api/v1/"+endpoint, bytes.NewReader(data))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		if by.Token != "" {
			req.Header.Set("X-User-Id", by.ID)
			req.Header.Set("X-Auth-Token", by.Token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		var answer bytes.Buffer
		_, err = answer.ReadFrom(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusOK:
			return json.Unmarshal(answer.Bytes(), out)
		case res.StatusCode != http.StatusTooManyRequests:
			return fmt.Errorf("POST %s: %d %s", endpoint, res.StatusCode, answer.String())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Second):
		}
	}
}
