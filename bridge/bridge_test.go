package bridge_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"appliance/bridge"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/store"
	"appliance/provision/homeserver"
	"appliance/provision/render"
	"appliance/templates"
)

// world is a Rocket.Chat server, two federated homeservers and a bridge.
type world struct {
	t         testing.TB
	rc        *rctest.Server
	home, far *mxtest.Server
	dir, url  string
	log       *syncBuffer
	stop      func()
	bot       rctest.Person // the bridge's account in Rocket.Chat
	people    map[string]rctest.Person
	base      string // of the configuration
	often     time.Duration
	gate      *gate // in front of the homeserver, if the test asked for one

	listen, registration string
}

// syncBuffer is a log that counts the delivered Rocket.Chat messages.
type syncBuffer struct {
	mu        sync.Mutex
	b         bytes.Buffer
	delivered int
	more      chan struct{} // closed when delivered grows; nil if nobody waits
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := bytes.Count(p, []byte("kind=rc.message")); n > 0 {
		s.delivered += n
		if s.more != nil {
			close(s.more)
			s.more = nil
		}
	}
	return s.b.Write(p)
}

// wait returns once n Rocket.Chat messages have been delivered. It does not poll,
// which would take processor time from what is measured.
func (s *syncBuffer) wait(n int) {
	for {
		s.mu.Lock()
		if s.delivered >= n {
			s.mu.Unlock()
			return
		}
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		<-more
	}
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newWorld starts everything with the given simulator.
func newWorld(t testing.TB, rc *rctest.Server) *world {
	t.Helper()
	return newWorldNamed(t, rc, "native")
}

// newWorldNamed is newWorld with the given namespace.
func newWorldNamed(t testing.TB, rc *rctest.Server, namespace string) *world {
	t.Helper()
	home := mxtest.Kind(t)
	return worldSpec{namespace: namespace, home: home, far: mxtest.Dendrite, version: roomVersion(t, home)}.start(t, rc)
}

// worldSpec describes the servers of a world.
type worldSpec struct {
	namespace string
	prefix    string // of a prefixed namespace; "" is the default
	beside    *world // shares its homeservers
	across    *world // shares them the other way round: its far is home here
	home, far string // kinds of homeserver
	version   string // of the rooms created on either
	rude      uint64 // seed of a rude home, hermetic only; 0 is a polite one
	database  string // "" for SQLite
	noBridge  bool   // the test starts it
	gated     bool   // with a gate before home
}

// roomVersion returns the room version that the appliance's own configuration of a
// kind of homeserver gives new rooms.
func roomVersion(t testing.TB, kind string) string {
	t.Helper()
	file := mxtest.SoftwareOf(kind).Template
	text, err := templates.FS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "default_room_version: \"")
	version, _, ok := strings.Cut(after, "\"")
	if !ok {
		t.Fatalf("%s says nothing of the version of new rooms", file)
	}
	return version
}

// amendment returns the statements that the appliance runs in the database of a kind of homeserver.
func amendment(t testing.TB, kind string) string {
	t.Helper()
	run := homeserver.Of(kind).Stack
	if run == nil || run.Amend == "" {
		return ""
	}
	text, err := templates.FS.ReadFile(run.Amend)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// start starts everything in a world.
func (spec worldSpec) start(t testing.TB, rc *rctest.Server) *world {
	t.Helper()
	w := spec.prepare(t, rc)
	w.home.Start(w.registration)
	w.far.Start("")
	spec.run(w)
	return w
}

// prepare creates the servers of a world and starts its Rocket.Chat. With beside or across, it
// uses the homeservers of another world, which has not been started either.
func (spec worldSpec) prepare(t testing.TB, rc *rctest.Server) *world {
	t.Helper()
	prefix := map[string]string{"prefixed": cmp.Or(spec.prefix, "rc_")}[spec.namespace]
	w := &world{t: t, rc: rc, dir: t.TempDir(), log: &syncBuffer{}}
	switch {
	case spec.beside != nil:
		w.home, w.far = spec.beside.home, spec.beside.far
	case spec.across != nil:
		w.home, w.far = spec.across.far, spec.across.home
	default:
		w.home, w.far = mxtest.New(t, spec.home), mxtest.New(t, spec.far)
	}
	skipUntold(t, w.home)
	w.home.RoomVersion, w.far.RoomVersion, w.home.Rude = spec.version, spec.version, spec.rude
	w.home.Amend, w.far.Amend = amendment(t, spec.home), amendment(t, spec.far)
	rc.Bridge, rc.Settings = true, map[string]any{}
	for _, setting := range render.NeededSettings {
		var value any = setting[1]
		if on, err := strconv.ParseBool(setting[1]); err == nil {
			value = on
		}
		rc.Settings[setting[0]] = value
	}
	rc.Start(t)
	w.bot = rc.Bot()
	w.listen = fmt.Sprintf("127.0.0.1:%d", mxtest.FreePort(t))
	w.url = "http://" + w.listen
	domain := strings.ReplaceAll(w.home.Name, ".", `\.`)
	w.registration = fmt.Sprintf(`id: %[4]srocketchat
url: %[1]s
as_token: as-token-for-tests%[4]s
hs_token: hs-token-for-tests
sender_localpart: %[4]srocket.cat
rate_limited: false
receive_ephemeral: true
de.sorunome.msc2409.push_ephemeral: true
namespaces:
  users: [{regex: "^@%[2]s[^:]+:%[3]s$", exclusive: true}]
  aliases: [{regex: "^#%[5]s[^:]+:%[3]s$", exclusive: true}, {regex: "^#[^:]+:%[3]s$", exclusive: false}]
  rooms: []
`, w.url, prefix, domain, spec.prefix, cmp.Or(spec.prefix, "rocketchat_"))
	return w
}

// run starts the bridge of a world whose homeservers are running.
func (spec worldSpec) run(w *world) {
	w.t.Helper()
	rc := w.rc
	for name, value := range map[string]string{"hs": "hs-token-for-tests", "as": "as-token-for-tests" + spec.prefix, "rc": w.bot.Token, "create": rc.CreateTokenSecret} {
		w.write(name, value)
	}
	address := w.home.URL
	if spec.gated {
		w.gate = newGate(w.t, address)
		address = w.gate.url
	}
	w.write("bridge.yaml", fmt.Sprintf(`homeserver: {url: %[1]q, domain: %[2]q, kind: %[8]s}
appservice: {id: %[11]srocketchat, bot: %[11]srocket.cat, url: %[3]q, listen: %[4]q, hs_token_file: %[5]s/hs, as_token_file: %[5]s/as}
rocketchat: {url: %[6]q, site_url: %[6]q, user_id: %[7]s, token_file: %[5]s/rc, create_token_secret_file: %[5]s/create}
database: %[10]q
namespace: %[9]s
ghost_prefix: %[12]s
`, address, w.home.Name, w.url, w.listen, w.dir, rc.URL, w.bot.ID, w.home.Kind, spec.namespace, cmp.Or(spec.database, "sqlite:"+w.dir+"/bridge.db"), spec.prefix, cmp.Or(spec.prefix, "rc_")))
	if spec.database == "" {
		emptyDatabase(w.t, filepath.Join(w.dir, "bridge.db"))
	}
	if !spec.noBridge {
		w.startBridge()
	}
}

// migrated returns an empty SQLite database with the bridge's schema. It is created once:
// migrating takes a sixth of the processor time under the race detector.
var migrated = sync.OnceValues(func() (database []byte, err error) {
	dir, err := os.MkdirTemp("", "migrated")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "bridge.db")
	s, err := store.Open(context.Background(), "sqlite:"+file)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// emptyDatabase creates a database as a bridge leaves it after its first start.
func emptyDatabase(tb testing.TB, file string) {
	tb.Helper()
	database, err := migrated()
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(file, database, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	tmp := filepath.Join(w.dir, name+".tmp")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(w.dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

// startBridge runs the bridge in this process until w.stop is called.
func (w *world) startBridge() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(io.MultiWriter(w.log), &slog.HandlerOptions{Level: level}))
	go func() {
		done <- bridge.Run(ctx, bridge.Options{ConfigFile: filepath.Join(w.dir, "bridge.yaml"), HostFile: filepath.Join(w.dir, "host.json"), Log: log, Level: level, Version: "test", Often: w.often})
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the bridge ended with %v", err)
		}
	})
	w.t.Cleanup(func() {
		w.stop()
		w.keptSecrets()
		if w.t.Failed() {
			w.t.Logf("the bridge's log:\n%s", w.log.String())
		}
	})
	mxtest.WaitFor(w.t, "the bridge to be ready", func() bool {
		select {
		case err := <-done:
			done <- err
			w.t.Fatalf("the bridge ended with %v", err)
		default:
		}
		res, err := http.Get(w.url + "/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// keptSecrets checks the log for secrets: whatever happened in a test, the bridge must
// not have logged its credentials.
func (w *world) keptSecrets() {
	w.t.Helper()
	log := w.log.String()
	for _, name := range []string{"hs", "as", "rc", "create"} {
		value, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil {
			w.t.Fatal(err)
		}
		if s := strings.TrimSpace(string(value)); s != "" && strings.Contains(log, s) {
			w.t.Errorf("the bridge has logged a secret: the one in the file %q", name)
		}
	}
}

// command runs a slash command as a user and returns the response.
func (w *world) command(p rctest.Person, room, command, params string) (int, string) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]string{"command": command, "params": params, "roomId": room})
	req, _ := http.NewRequest(http.MethodPost, w.url+"/api/v1/commands.run", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-User-Id", p.ID)
	req.Header.Set("X-Auth-Token", p.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(data)
}

func (w *world) must(p rctest.Person, room, command, params string) {
	w.t.Helper()
	status, body := 0, ""
	for range 20 { // a rude server refuses now and then, and people retry
		if status, body = w.command(p, room, command, params); status == http.StatusOK {
			return
		}
	}
	w.t.Fatalf("/%s %s: %d %s", command, params, status, body)
}

// hint does what the web server does when another server invites a person.
func (w *world) hint(room, ghost, sender string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"room_version":"1","event":{"type":"m.room.member","room_id":%q,"state_key":%q,"sender":%q,"content":{"membership":"invite"}}}`, room, ghost, sender)
	req, _ := http.NewRequest(http.MethodPut, w.url+"/hint/invite", strings.NewReader(body))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = res.Body.Close()
}

// saidOnMatrix returns a room's messages as "sender: body".
func saidOnMatrix(p *mxtest.Person, room string) []string {
	var out []string
	for _, e := range p.Timeline(room) {
		if e.Content.MsgType == "m.text" {
			out = append(out, e.Sender+": "+e.Content.Body)
		}
	}
	return out
}

// saidInRC returns a room's messages as "username: text", without the bridge's own.
func (w *world) saidInRC(room string) []string {
	var out []string
	for _, m := range w.rc.Said(room) {
		if m.User.ID != w.bot.ID {
			out = append(out, m.User.Username+": "+m.Text)
		}
	}
	return out
}

func (w *world) waitForMatrix(p *mxtest.Person, room string, want ...string) {
	w.t.Helper()
	var got []string
	mxtest.WaitFor(w.t, fmt.Sprintf("%q on Matrix", want[len(want)-1]), func() bool {
		got = saidOnMatrix(p, room)
		return slices.Contains(got, want[len(want)-1])
	})
	if !slices.Equal(got, want) {
		w.t.Errorf("on Matrix:\n%q\nwant\n%q", got, want)
	}
}

func (w *world) waitForRC(room string, want ...string) {
	w.t.Helper()
	var got []string
	mxtest.WaitFor(w.t, fmt.Sprintf("%q in Rocket.Chat", want[len(want)-1]), func() bool {
		got = w.saidInRC(room)
		return slices.Contains(got, want[len(want)-1])
	})
	if !slices.Equal(got, want) {
		w.t.Errorf("in Rocket.Chat:\n%q\nwant\n%q", got, want)
	}
}

func (w *world) alice() string { return "@alice:" + w.home.Name }

// waitForGhost waits until one of our users is in a room of p's according to both p's
// homeserver and ours. Until both have seen the join, Dendrite may miss messages.
func (w *world) waitForGhost(p *mxtest.Person, room, ghost string) {
	w.t.Helper()
	mxtest.WaitFor(w.t, ghost+" to join on Matrix", func() bool {
		return p.Members(room)[ghost] == "join" && slices.Contains(w.joinedRooms(ghost), room)
	})
}

// joinedRooms returns the rooms one of our users has joined, according to our homeserver.
func (w *world) joinedRooms(ghost string) []string {
	var out struct {
		Rooms []string `json:"joined_rooms"`
	}
	_, _ = w.home.As("as-token-for-tests").Call(w.t.Context(), http.MethodGet, "/_matrix/client/v3/joined_rooms?user_id="+url.QueryEscape(ghost), nil, &out)
	return out.Rooms
}

func (w *world) waitForPuppet(room, username string) {
	w.t.Helper()
	mxtest.WaitFor(w.t, username+" to be in the room", func() bool { return slices.Contains(w.rc.Members(room), username) })
}

func TestAConversationInARoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	room := w.rc.CreateRoom("p", "plans", "alice")
	w.rc.Say(room, "alice", "said before the bridge")
	bob := w.far.Register("bob", "Bob Builder")
	w.must(alice, room, "bridge", "invite "+bob.ID)
	mxRoom, inviter := bob.AcceptInvitation()
	if inviter != w.alice() {
		t.Errorf("%s invited, want %s", inviter, w.alice())
	}
	var puppet string
	mxtest.WaitFor(t, "bob to join in Rocket.Chat", func() bool {
		for _, m := range w.rc.Members(room) {
			if strings.HasPrefix(m, "bob_localhost") {
				puppet = m
			}
		}
		return puppet != ""
	})
	var inMX, inRC []string
	for i := range 5 {
		w.rc.Say(room, "alice", fmt.Sprint("to matrix ", i))
		inMX = append(inMX, w.alice()+": "+fmt.Sprint("to matrix ", i))
		inRC = append(inRC, "alice: "+fmt.Sprint("to matrix ", i))
		w.waitForMatrix(bob, mxRoom, inMX...)
		bob.Send(mxRoom, fmt.Sprint("to rocket.chat ", i))
		inMX = append(inMX, bob.ID+": "+fmt.Sprint("to rocket.chat ", i))
		inRC = append(inRC, puppet+": "+fmt.Sprint("to rocket.chat ", i))
		w.waitForRC(room, append([]string{"alice: said before the bridge"}, inRC...)...)
	}
	if name := bob.DisplayName(w.alice()); name != "alice" && name != "Alice" {
		t.Errorf("alice is called %q on Matrix", name)
	}
	bob.Must("POST", "/_matrix/client/v3/rooms/"+mxRoom+"/leave", map[string]any{}, nil)
	mxtest.WaitFor(t, "bob to leave in Rocket.Chat", func() bool { return !slices.Contains(w.rc.Members(room), puppet) })
	if strings.Contains(w.log.String(), "to matrix") || strings.Contains(w.log.String(), "to rocket.chat") {
		t.Error("the log holds what people said")
	}
	if strings.Contains(w.log.String(), w.bot.Token) || strings.Contains(w.log.String(), "as-token-for-tests") {
		t.Error("the log holds a secret")
	}
}

func TestADirectMessageFromRocketChat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	lobby := w.rc.CreateRoom("p", "lobby", "alice")
	bob := w.far.Register("bob", "Bob Builder")
	w.must(alice, lobby, "federation", "dm "+bob.ID)
	mxRoom, inviter := bob.AcceptInvitation()
	if inviter != w.alice() {
		t.Errorf("%s invited", inviter)
	}
	dm := w.directWith("alice", "bob_localhost")
	w.rc.Say(dm, "alice", "hello bob")
	w.waitForMatrix(bob, mxRoom, w.alice()+": hello bob")
	bob.Send(mxRoom, "hello alice")
	puppet := w.puppetOf(dm, "alice")
	w.waitForRC(dm, "alice: hello bob", puppet+": hello alice")
}

func TestADirectMessageFromMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob := w.far.Register("bob", "Bob Builder")
	mxRoom := bob.CreateRoom("", true, w.alice())
	w.hint(mxRoom, w.alice(), bob.ID)
	w.waitForGhost(bob, mxRoom, w.alice())
	bob.Send(mxRoom, "hello alice")
	dm := w.directWith("alice", "bob_localhost")
	puppet := w.puppetOf(dm, "alice")
	w.waitForRC(dm, puppet+": hello alice")
	w.rc.Say(dm, "alice", "hello bob")
	w.waitForMatrix(bob, mxRoom, bob.ID+": hello alice", w.alice()+": hello bob")
}

func TestARoomFromMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob := w.far.Register("bob", "Bob Builder")
	mxRoom := bob.CreateRoom("Garden Party", false, w.alice())
	w.hint(mxRoom, w.alice(), bob.ID)
	w.waitForGhost(bob, mxRoom, w.alice())
	room := ""
	mxtest.WaitFor(t, "the room in Rocket.Chat", func() bool { room = w.roomNamed("Garden-Party"); return room != "" })
	mxtest.WaitFor(t, "everybody in Rocket.Chat", func() bool { return len(w.rc.Members(room)) == 3 })
	bob.Send(mxRoom, "welcome")
	w.rc.Say(room, "alice", "thanks")
	mxtest.WaitFor(t, "thanks", func() bool { return slices.Contains(saidOnMatrix(bob, mxRoom), w.alice()+": thanks") })
	mxtest.WaitFor(t, "welcome", func() bool { return len(w.saidInRC(room)) == 2 })
}

func TestCommandsThatCannotBeCarriedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice, eve := w.rc.CreateUser("alice"), w.rc.CreateUser("eve")
	room := w.rc.CreateRoom("p", "plans", "alice", "eve")
	for _, tc := range []struct {
		who          rctest.Person
		name, params string
		want         string
	}{
		{alice, "bridge", "invite bob", "is not a Matrix address"},
		{alice, "bridge", "invite", "needs one address"},
		{alice, "bridge", "invite @bob:localhost:1", "does not answer"},
		{alice, "bridge", "invite " + w.alice(), "is a user of this Rocket.Chat"},
		{eve, "bridge", "invite @bob:" + w.far.Name, "you may not invite"},
		{alice, "bridge", "dance", "there is no /bridge dance"},
	} {
		status, body := w.command(tc.who, room, tc.name, tc.params)
		if status != http.StatusBadRequest || !strings.Contains(body, tc.want) {
			t.Errorf("/%s %s: %d %s, want %q", tc.name, tc.params, status, body, tc.want)
		}
	}
	if status, _ := w.command(rctest.Person{ID: alice.ID, Token: "wrong"}, room, "bridge", "invite @b:x.org"); status != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", status)
	}
	if status, body := w.command(alice, room, "nosuchcommand", ""); status != http.StatusBadRequest || !strings.Contains(body, "does not exist") {
		t.Errorf("the command of another user: %d %s", status, body)
	}
}

// directWith waits for a direct room between a user and a person whose name has the
// given prefix.
func (w *world) directWith(user, prefix string) (room string) {
	w.t.Helper()
	mxtest.WaitFor(w.t, "a direct room of "+user+" and "+prefix, func() bool {
		for _, r := range w.rooms() {
			if r["t"] == "d" && slices.Contains(w.rc.Members(fmt.Sprint(r["_id"])), user) &&
				slices.ContainsFunc(w.rc.Members(fmt.Sprint(r["_id"])), func(m string) bool { return strings.HasPrefix(m, prefix) }) {
				room = fmt.Sprint(r["_id"])
			}
		}
		return room != ""
	})
	return room
}

func (w *world) puppetOf(dm, user string) string {
	for _, m := range w.rc.Members(dm) {
		if m != user {
			return m
		}
	}
	return ""
}

func (w *world) roomNamed(name string) string {
	for _, r := range w.rooms() {
		if r["name"] == name {
			return fmt.Sprint(r["_id"])
		}
	}
	return ""
}

// rooms lists alice's rooms.
func (w *world) rooms() []map[string]any {
	w.t.Helper()
	p := w.rc.Login("alice")
	req, _ := http.NewRequest(http.MethodGet, w.rc.URL+"/api/v1/rooms.get", nil)
	req.Header.Set("X-User-Id", p.ID)
	req.Header.Set("X-Auth-Token", p.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Update []map[string]any `json:"update"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		w.t.Fatal(err)
	}
	return out.Update
}

func waitUntil(t testing.TB, what string, d time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", d, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestTheConfigurationIsReloadedWhileItRuns(t *testing.T) {
	w := newWorld(t, &rctest.Server{Polite: true})
	file := filepath.Join(w.dir, "bridge.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	status := func() (st bridge.Status) {
		res := w.operator(http.MethodGet, "/status", "")
		defer func() { _ = res.Body.Close() }()
		if err := json.NewDecoder(res.Body).Decode(&st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	w.write("bridge.yaml", string(good)+"enabled: false\n")
	waitUntil(t, "the live key to take effect", time.Second, func() bool { return !status().Enabled })
	w.write("bridge.yaml", string(good)+"colour: red\n")
	unknown := fmt.Sprintf("line %d: colour: unknown key", strings.Count(string(good), "\n")+1)
	waitUntil(t, "the broken file to be noticed", time.Second, func() bool {
		return strings.Contains(status().ConfigError, unknown)
	})
	if status().Enabled {
		t.Error("a broken file changed something")
	}
	w.write("bridge.yaml", strings.Replace(string(good), "database: \"sqlite:", "database: \"sqlite:/elsewhere", 1))
	waitUntil(t, "the fixed key to be refused", time.Second, func() bool {
		return strings.Contains(status().ConfigError, "changed database: needs a restart")
	})
	w.write("bridge.yaml", string(good))
	waitUntil(t, "the good file to be in force", time.Second, func() bool { return status().Enabled && status().ConfigError == "" })
}
