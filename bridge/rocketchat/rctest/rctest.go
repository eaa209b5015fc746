// Package rctest is a Rocket.Chat for tests. It is the simulator of package sim
// behind a local port, or the real server that ROCKETCHAT_URL names: tests are
// written once and demand the same of both.
//
// The simulator is not Rocket.Chat. It is rude unless told otherwise: it repeats
// and reorders events, drops websockets, refuses requests with 429 and 502, and
// loses one response in twenty after doing the work. The seed for all of this is in
// the test's log.
package rctest

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat/rctest/sim"
)

// What every simulator starts with, unless Env says otherwise.
const (
	AdminName         = "admin"
	AdminPassword     = "admin-password"
	CreateTokenSecret = "create-token-secret"
)

// BotName is the username of the bridge's account.
const BotName = "matrix-bridge"

var botRoles = []string{"bot", "admin"}

// patience is how long the Wait functions wait.
const patience = 20 * time.Second

// A Server is ready to use after Start. Fields must be set before that.
type Server struct {
	Polite  bool   // disables the rudeness, for tests about something else
	Seed    uint64 // 0: choose one
	Data    string // journal file of the simulator; empty keeps data in memory, even across Restart
	Version string // the version to simulate, such as "7.2"; empty: sim.DefaultVersion

	// Simulator keeps the test on the simulator even where ROCKETCHAT_URL is set: for
	// tests of the simulator, and of clients whose server responds through OnRequest.
	Simulator bool

	// Unrecorded keeps the simulator's requests and responses from Rocket.Chat's own
	// validators and types: for tests of behaviour that no current Rocket.Chat has.
	Unrecorded bool

	// Bridge adds the account that a bridge works with to the workspace; see Bot.
	Bridge bool

	// Settings are in force when the test begins.
	Settings map[string]any

	// Env is added to the environment the simulator reads, such as
	// "OVERWRITE_SETTING_API_Embed": "false" or "INITIAL_USER".
	Env map[string]string

	// OnRequest, if not nil, sees every REST request first. Returning true
	// means that it has answered. Tests use it to fail exactly one call.
	OnRequest func(http.ResponseWriter, *http.Request) bool

	// URL is where it listens, such as "http://127.0.0.1:41234"; set by Start.
	URL string
	// CreateTokenSecret is its CREATE_TOKENS_FOR_USERS_SECRET; set by Start. The
	// constant of the same name is what a simulator has.
	CreateTokenSecret string

	tb   testing.TB
	host host
}

// A Person is a user that a test can sign in as. The password of a user made by
// CreateUser is the username.
type Person = sim.Person

// Start makes s ready until the test ends: a simulator on a local port or, where
// ROCKETCHAT_URL is set, the real server, emptied and reserved for this test. A
// test that needs something a real server does not do is skipped there.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.tb = tb
	if s.Seed == 0 {
		s.Seed = rand.Uint64()
	}
	if s.choosesReal() {
		s.host = newReal(tb, s)
		return
	}
	s.host = newSimulated(tb, s)
}

func (s *Server) choosesReal() bool { return realURL() != "" && !s.Simulator }

// Expect returns how servers of its version behave.
func (s *Server) Expect() Expect {
	s.tb.Helper()
	e, err := s.host.expect()
	s.check(err)
	return e
}

// Stop ends all connections and closes the port. The data remain. A real server is
// stopped by the program that ROCKETCHAT_CONTROL names.
func (s *Server) Stop() { s.tb.Helper(); s.host.stop() }

// Restart starts the server again after Stop, with the same data.
func (s *Server) Restart() { s.tb.Helper(); s.host.restart() }

// Engine returns the simulator itself, for what has no helper. A test that calls it
// is skipped on a real server.
func (s *Server) Engine() *sim.Engine {
	s.tb.Helper()
	return s.simulator("it asks the simulator for what no server tells")
}

// simulator returns the simulator, or skips the test on a real server.
func (s *Server) simulator(why string) *sim.Engine {
	s.tb.Helper()
	e := s.host.engine()
	if e == nil {
		mustrun.Skip(s.tb, why)
	}
	return e
}

func (s *Server) work() workspace { return s.host.workspace() }

func (s *Server) check(err error) {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatalf("rctest: %v", err)
	}
}

// What people do. Rooms are named by id or name, people by username.

// CreateUser adds a user with the role user, or those given.
func (s *Server) CreateUser(username string, roles ...string) Person {
	s.tb.Helper()
	p, err := s.work().CreateUser(username, strings.ToUpper(username[:1])+username[1:], roles...)
	s.check(err)
	return p
}

// Admin signs in the administrator.
func (s *Server) Admin() Person {
	s.tb.Helper()
	return s.host.administrator()
}

// Bot returns the bridge's account, with a token that needs no second factor. It
// exists only if Bridge is set.
func (s *Server) Bot() Person { s.tb.Helper(); return s.host.bot() }

// Login gives an existing user one more token.
func (s *Server) Login(username string) Person {
	s.tb.Helper()
	p, err := s.work().Person(username)
	s.check(err)
	return p
}

// CreateChannel makes a public channel and returns its id.
func (s *Server) CreateChannel(name, owner string, members ...string) string {
	s.tb.Helper()
	return s.CreateRoom("c", name, owner, members...)
}

// CreateRoom makes a room of type "c" or "p" and returns its id.
func (s *Server) CreateRoom(t, name, owner string, members ...string) string {
	s.tb.Helper()
	rid, err := s.work().CreateRoom(t, name, owner, members...)
	s.check(err)
	return rid
}

// CreateDirect makes a DM and returns its id.
func (s *Server) CreateDirect(first string, others ...string) string {
	s.tb.Helper()
	rid, err := s.work().CreateDirect(first, others...)
	s.check(err)
	return rid
}

// Say sends a message and returns its id.
func (s *Server) Say(room, username, text string) string {
	s.tb.Helper()
	return s.SayWith(room, username, text, nil)
}

// Reply sends a message into the thread of root.
func (s *Server) Reply(room, username, root, text string) string {
	s.tb.Helper()
	return s.SayWith(room, username, text, map[string]any{"tmid": root})
}

// SayWith sends a message with more fields.
func (s *Server) SayWith(room, username, text string, fields map[string]any) string {
	s.tb.Helper()
	id, err := s.work().Say(room, username, text, fields)
	s.check(err)
	return id
}

// Upload posts a file and returns the id of its message.
func (s *Server) Upload(room, username, name, contentType string, data []byte, caption string) string {
	s.tb.Helper()
	id, err := s.work().Upload(room, username, name, contentType, data, caption)
	s.check(err)
	return id
}

// Edit changes a message.
func (s *Server) Edit(id, username, text string) {
	s.tb.Helper()
	s.check(s.work().Edit(id, username, text))
}

// Delete removes a message.
func (s *Server) Delete(id, username string) { s.tb.Helper(); s.check(s.work().Delete(id, username)) }

// React adds a reaction such as "smile", Unreact removes it.
func (s *Server) React(id, username, emoji string) {
	s.tb.Helper()
	s.check(s.work().React(id, username, emoji, true))
}

// Unreact removes a reaction.
func (s *Server) Unreact(id, username, emoji string) {
	s.tb.Helper()
	s.check(s.work().React(id, username, emoji, false))
}

// Touch changes all messages of a room in one millisecond, as renaming their author does.
func (s *Server) Touch(room string) {
	s.tb.Helper()
	s.check(s.simulator("it touches all messages of a room at once, which only the simulator does on request").Touch(room))
}

// Typing starts or stops typing.
func (s *Server) Typing(room, username string, on bool) {
	s.tb.Helper()
	s.check(s.work().Typing(room, username, on))
}

// Join joins a public channel.
func (s *Server) Join(room, username string) { s.tb.Helper(); s.check(s.work().Join(room, username)) }

// Leave leaves a room.
func (s *Server) Leave(room, username string) { s.tb.Helper(); s.check(s.work().Leave(room, username)) }

// Invite adds username to a room.
func (s *Server) Invite(room, by, username string) {
	s.tb.Helper()
	s.check(s.work().Invite(room, by, username))
}

// Kick removes username from a room.
func (s *Server) Kick(room, by, username string) {
	s.tb.Helper()
	s.check(s.work().Kick(room, by, username))
}

// SetTopic changes a room's topic.
func (s *Server) SetTopic(room, by, topic string) {
	s.tb.Helper()
	s.check(s.work().ChangeRoom(room, by, map[string]any{"roomTopic": topic}))
}

// Rename changes a room's name.
func (s *Server) Rename(room, by, name string) {
	s.tb.Helper()
	s.check(s.work().ChangeRoom(room, by, map[string]any{"roomName": name}))
}

// SetName changes a person's display name.
func (s *Server) SetName(username, name string) {
	s.tb.Helper()
	s.check(s.work().ChangeUser(username, map[string]any{"name": name}))
}

// SetStatus changes presence ("online", "away", "busy", "offline") and its text.
func (s *Server) SetStatus(username, status, text string) {
	s.tb.Helper()
	s.check(s.work().SetStatus(username, status, text))
}

// Set changes a setting.
func (s *Server) Set(setting string, value any) { s.tb.Helper(); s.check(s.work().Set(setting, value)) }

// Logout ends all sessions and tokens of a user.
func (s *Server) Logout(username string) { s.tb.Helper(); s.check(s.work().Logout(username)) }

// DropConnections cuts every websocket.
func (s *Server) DropConnections() { s.tb.Helper(); s.simulator(misbehaves).DropConnections() }

// Why tests are skipped on a real server.
const (
	misbehaves = "it makes the server fail, lose an answer or fall silent, which only the simulator does on request"
	counts     = "it counts requests, sessions or subscriptions, which only the simulator tells"
)

// FailNext makes the next request for what, such as "POST /api/v1/chat.sendMessage",
// fail with status and text before it does anything.
func (s *Server) FailNext(what string, status int, text string) {
	s.tb.Helper()
	s.simulator(misbehaves).FailNext(what, status, text)
}

// LoseNext does the work of the next request for what and loses the response.
func (s *Server) LoseNext(what string) { s.tb.Helper(); s.simulator(misbehaves).LoseNext(what) }

// Restrict makes posting fail with restricted-workspace until it is lifted.
func (s *Server) Restrict(on bool) {
	s.tb.Helper()
	s.simulator("it restricts the workspace, which only the simulator does on request").Restrict(on)
}

// License gives the workspace a licence with the given number of seats; 0 removes it.
func (s *Server) License(seats int) {
	s.tb.Helper()
	s.simulator("it installs a licence, which only the simulator takes").License(seats)
}

// What tests look at.

// A Message is one message as the server holds it.
type Message struct {
	ID     string `json:"_id"`
	Room   string `json:"rid"`
	Text   string `json:"msg"`
	Type   string `json:"t"` // empty for messages by people
	Thread string `json:"tmid"`
	Alias  string `json:"alias"`
	User   struct {
		ID       string `json:"_id"`
		Username string `json:"username"`
	} `json:"u"`
	EditedAt  string `json:"editedAt"`
	Reactions map[string]struct {
		Usernames []string `json:"usernames"`
	} `json:"reactions"`
	Attachments []map[string]any `json:"attachments"`
	File        struct {
		ID   string `json:"_id"`
		Name string `json:"name"`
	} `json:"file"`
	Raw map[string]any `json:"-"` // everything
}

// Messages returns the messages of a room, system messages included, oldest first.
func (s *Server) Messages(room string) []Message {
	var l []Message
	for _, d := range s.work().Messages(room) {
		var m Message
		b := d.JSON()
		if err := errors.Join(json.Unmarshal(b, &m), json.Unmarshal(b, &m.Raw)); err != nil {
			panic(err)
		}
		l = append(l, m)
	}
	return l
}

// Said returns the messages that people wrote in a room, without system messages.
func (s *Server) Said(room string) []Message {
	var l []Message
	for _, m := range s.Messages(room) {
		if m.Type == "" {
			l = append(l, m)
		}
	}
	return l
}

// Members returns the usernames of a room's members, sorted.
func (s *Server) Members(room string) []string { return s.work().Members(room) }

// Room returns a room as REST shows it, nil when there is none.
func (s *Server) Room(room string) map[string]any { return asREST(s.work().Room(room)) }

// User returns a user as administrators see it, nil when there is none.
func (s *Server) User(username string) map[string]any { return asREST(s.work().User(username)) }

func asREST(d sim.Doc) (v map[string]any) {
	if err := json.Unmarshal(d.JSON(), &v); err != nil {
		panic(err)
	}
	return v
}

// Count returns how often something was requested: "POST /api/v1/chat.sendMessage",
// "method sendMessage", "sub stream-room-messages" or "websocket".
func (s *Server) Count(what string) int { s.tb.Helper(); return s.simulator(counts).Count(what) }

// Sessions returns how many websockets are logged in as username.
func (s *Server) Sessions(username string) int {
	s.tb.Helper()
	return s.simulator(counts).Sessions(username)
}

// Subscribers returns how many subscriptions an event of a stream has, such as
// ("stream-room-messages", rid).
func (s *Server) Subscribers(stream, event string) int {
	s.tb.Helper()
	return s.simulator(counts).Subscribers(stream, event)
}

// WaitFor waits until a user has said text in a room.
func (s *Server) WaitFor(tb testing.TB, room, text string) Message {
	tb.Helper()
	return s.WaitForMessage(tb, room, "the text "+text, func(m Message) bool { return m.Text == text })
}

// WaitForMessage waits until a room holds a matching message.
func (s *Server) WaitForMessage(tb testing.TB, room, what string, fits func(Message) bool) (found Message) {
	tb.Helper()
	s.WaitUntil(tb, what+" in "+room, func() bool {
		for _, m := range s.Messages(room) {
			if fits(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// WaitUntil waits until ok returns true; it is called again after every change.
func (s *Server) WaitUntil(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if err := s.work().Wait(ctx, ok); err != nil {
		tb.Fatalf("rctest: waited for %s: %v", what, err)
	}
}
