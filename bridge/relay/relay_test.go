package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/config"
	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// chat is an in-memory Rocket.Chat, as far as the policy of the relay needs one. A
// method that is not here panics.
type chat struct {
	relay.RocketChat
	mu      sync.Mutex
	people  map[ids.RCUser]model.RCProfile
	members []ids.RCUser
	read    map[ids.RCUser]bool
	did     []string
	fail    func(what string) error
}

func (c *chat) do(format string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := fmt.Sprintf(format, args...)
	if c.fail != nil {
		if err := c.fail(what); err != nil {
			return err
		}
	}
	c.did = append(c.did, what)
	return nil
}

func (c *chat) log() []string { c.mu.Lock(); defer c.mu.Unlock(); return slices.Clone(c.did) }

func (c *chat) Watch(model.Portal)            {}
func (c *chat) Follow()                       {}
func (c *chat) IsBridge(user ids.RCUser) bool { return user == "bridge" }
func (c *chat) UserByName(_ context.Context, name string) (model.RCPerson, bool, error) {
	for _, p := range c.people {
		if p.Username == name {
			return p.RCPerson, true, nil
		}
	}
	return model.RCPerson{}, false, nil
}

func (c *chat) Profile(_ context.Context, user ids.RCUser) (model.RCProfile, bool, error) {
	p, ok := c.people[user]
	return p, ok, nil
}

func (c *chat) Members(context.Context, model.Portal) (out []model.RCPerson, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.members {
		out = append(out, c.people[id].RCPerson)
	}
	return out, nil
}

func (c *chat) Roles(context.Context, model.Portal) (map[ids.RCUser]model.Role, error) {
	return map[ids.RCUser]model.Role{"alice": model.Owner}, nil
}

func (c *chat) Send(_ context.Context, as model.Puppet, _ ids.RCRoom, _, _ ids.RCMessage, text string) error {
	return c.do("%s says %s", as.Username, text)
}

func (c *chat) Edit(_ context.Context, as model.Puppet, _ ids.RCRoom, _ ids.RCMessage, text string) error {
	return c.do("%s edits to %s", as.Username, text)
}

func (c *chat) Delete(_ context.Context, _ *model.Puppet, _ ids.RCRoom, id ids.RCMessage) error {
	return c.do("deleted %s", id)
}

func (c *chat) React(_ context.Context, as model.Puppet, _ ids.RCMessage, emoji string, on bool) error {
	return c.do("%s reacts %s %t", as.Username, emoji, on)
}

func (c *chat) Remove(_ context.Context, _ model.Portal, who ids.RCUser) error {
	return c.do("removed %s", who)
}

func (c *chat) Add(_ context.Context, _ model.Portal, who ids.RCUser) error {
	return c.do("added %s", who)
}

func (c *chat) Tell(_ context.Context, who model.RCPerson, text string) error {
	return c.do("told %s %s", who.Username, text)
}

func (c *chat) Typing(_ context.Context, as model.Puppet, _ ids.RCRoom, on bool) error {
	return c.do("%s types %t", as.Username, on)
}

func (c *chat) HasRead(_ context.Context, _ model.Portal, who ids.RCUser) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read[who], nil
}

func (c *chat) Room(_ context.Context, room ids.RCRoom) (model.RCRoomInfo, bool, error) {
	return model.RCRoomInfo{ID: room, Type: "p"}, true, nil
}
func (c *chat) Answers(context.Context) error                { return nil }
func (c *chat) Dialect(context.Context) convert.Dialect      { return 0 }
func (c *chat) Limits(context.Context) (model.Limits, error) { return model.Limits{Text: 5000}, nil }

func (c *chat) HasUpload(context.Context, model.Portal, string, string) (bool, error) {
	return true, nil
}

// Open refuses as the client does: see TestOnlyUploadedFilesAreDownloaded.
func (c *chat) Open(_ context.Context, _ model.Portal, link string, _ int64) (model.Media, error) {
	if strings.Contains(link, "..") {
		return model.Media{}, fmt.Errorf("%w: %w", model.ErrRefused, rocketchat.ErrNoUpload)
	}
	return model.Media{Type: "text/plain", Size: 4, Body: io.NopCloser(strings.NewReader("text"))}, nil
}

// matrix is an in-memory homeserver.
type matrix struct {
	relay.Matrix
	mu      sync.Mutex
	members []model.MXMember
	did     []string
}

func (m *matrix) do(format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.did = append(m.did, fmt.Sprintf(format, args...))
	return nil
}

func (m *matrix) log() []string { m.mu.Lock(); defer m.mu.Unlock(); return slices.Clone(m.did) }

// State returns the state of a room as the bridge creates it.
func (m *matrix) State(_ context.Context, _ ids.MXRoom, _ ids.MXUser, kind, _ string) (json.RawMessage, bool, error) {
	return json.RawMessage(map[string]string{"m.room.power_levels": `{"invite":50}`, "m.room.history_visibility": `{"history_visibility":"invited"}`}[kind]), true, nil
}

func (m *matrix) Follow(ids.MXUser)                                  {}
func (m *matrix) Register(context.Context, ids.MXUser, string) error { return nil }
func (m *matrix) Join(_ context.Context, _ ids.MXRoom, who, _ ids.MXUser) (bool, error) {
	return false, m.do("%s joins", who)
}

func (m *matrix) Admit(_ context.Context, _ ids.MXRoom, who, by ids.MXUser) error {
	return m.do("%s joins, invited by %s", who, by)
}

func (m *matrix) Leave(_ context.Context, _ ids.MXRoom, who ids.MXUser) error {
	return m.do("%s leaves", who)
}

func (m *matrix) Members(context.Context, ids.MXRoom, ids.MXUser) ([]model.MXMember, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.members), nil
}

func (m *matrix) Notice(_ context.Context, _ ids.MXRoom, _ ids.MXUser, _, text string) error {
	return m.do("notice: %s", text)
}

func (m *matrix) MarkRead(_ context.Context, _ ids.MXRoom, as ids.MXUser, event ids.MXEvent) error {
	return m.do("%s has read %s", as, event)
}

func (m *matrix) Typing(_ context.Context, _ ids.MXRoom, as ids.MXUser, on bool) error {
	return m.do("%s types %t", as, on)
}

func (m *matrix) Send(_ context.Context, _ ids.MXRoom, as ids.MXUser, _ string, _ time.Time, c convert.Content) (ids.MXEvent, error) {
	return ids.MXEvent("$" + c.Source), m.do("%s says %s", as, c.Body)
}
func (m *matrix) Probe(context.Context, ids.MXRoom, ids.MXUser) error { return nil }
func (m *matrix) Answers(context.Context) error                       { return nil }
func (m *matrix) Limits(context.Context) (model.Limits, error) {
	return model.Limits{File: 1 << 20}, nil
}

func (m *matrix) Upload(_ context.Context, _ ids.MXUser, media model.Media) (string, error) {
	_, err := io.Copy(io.Discard, media.Body)
	return "mxc://here.org/" + media.Name, err
}

// bench is a relay between the two, with a room that alice and bob are in.
type bench struct {
	*relay.Relay
	t    *testing.T
	rc   *chat
	mx   *matrix
	mu   sync.Mutex
	live config.Live
	n    int
}

const (
	rcRoom = ids.RCRoom("room")
	mxRoom = ids.MXRoom("!room:far.org")
	bob    = ids.MXUser("@bob:far.org")
)

func newBench(t *testing.T) *bench {
	t.Helper()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, live: config.Default().Live, rc: &chat{people: map[ids.RCUser]model.RCProfile{}, read: map[ids.RCUser]bool{}}, mx: &matrix{}}
	b.Relay = &relay.Relay{
		Store: st, RC: b.rc, MX: b.mx, Names: ids.Namespace{Server: "here.org", Bot: "rocket.cat"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Live:           func() config.Live { b.mu.Lock(); defer b.mu.Unlock(); return b.live },
		ReconcileEvery: 20 * time.Millisecond,
	}
	b.must(st.PutPuppet(t.Context(), model.Puppet{MXUser: bob, RCUser: "bob", Username: "bob_far.org", Name: "Bob (far.org)", Token: secret.New("t")}))
	for _, name := range []string{"alice", "carol"} {
		b.person(ids.RCUser(name), name)
	}
	b.rc.people["bob"] = model.RCProfile{RCPerson: model.RCPerson{ID: "bob", Username: "bob_far.org", Name: "Bob"}, Active: true}
	b.rc.members = []ids.RCUser{"alice", "bob"}
	b.mx.members = []model.MXMember{{User: bob, Membership: "join"}, {User: "@alice:here.org", Membership: "join"}}
	b.must(st.PutPortal(t.Context(), model.Portal{RCRoom: rcRoom, MXRoom: mxRoom, RCType: "p", Created: time.Now().Add(-time.Hour)}, nil, nil))
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) person(id ids.RCUser, username string) {
	who := model.RCPerson{ID: id, Username: username, Name: strings.ToUpper(username)}
	b.rc.people[id] = model.RCProfile{RCPerson: who, Active: true}
	b.must(b.Store.PutGhost(b.t.Context(), model.Ghost{RCUser: id, MXUser: ids.MXUser("@" + username + ":here.org"), Username: username, Name: who.Name}))
}

// run runs the relay until the test ends.
func (b *bench) run() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return b.Run(ctx) })
		g.Go(func() error { return b.Sweep(ctx) })
		done <- g.Wait()
	}()
	b.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

// says stores an event of bob's and returns its ID.
func (b *bench) says(kind string, content map[string]any) string {
	b.t.Helper()
	return b.saysIn(mxRoom, bob, kind, content)
}

func (b *bench) saysIn(room ids.MXRoom, sender ids.MXUser, kind string, content map[string]any) string {
	b.t.Helper()
	b.n++
	id := fmt.Sprintf("$event%d", b.n)
	eventType := map[string]string{event.KindMXMessage: "m.room.message", event.KindMXReact: "m.reaction", event.KindMXRedact: "m.room.redaction"}[kind]
	payload, _ := json.Marshal(map[string]any{"event_id": id, "type": eventType, "sender": sender, "room_id": room, "origin_server_ts": time.Now().UnixMilli(), "content": content, "redacts": content["redacts"]})
	b.must(b.Accept(b.t.Context(), []queue.Item{{ID: id, Lane: model.MXLane(room), Kind: kind, Payload: payload}}, nil))
	return id
}

func text(s string) map[string]any { return map[string]any{"msgtype": "m.text", "body": s} }

func edit(of, s string) map[string]any {
	return map[string]any{"msgtype": "m.text", "body": "* " + s, "m.new_content": text(s), "m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": of}}
}

func until(t *testing.T, what string, got func() []string, ok func([]string) bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok(got()) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s; it is %q", what, got())
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (b *bench) untilRC(want ...string) {
	b.t.Helper()
	until(b.t, fmt.Sprintf("%q in Rocket.Chat", want), b.rc.log, func(got []string) bool { return slices.Equal(got, want) })
}

// Another process may announce work as soon as the database is open, before this one
// knows its sides.
func TestWorkMayBeAnnouncedBeforeTheSidesAreKnown(t *testing.T) {
	b := newBench(t)
	b.RC, b.MX = nil, nil
	b.Wake()
	b.RC, b.MX = b.rc, b.mx
	b.says(event.KindMXMessage, text("first"))
	b.run()
	b.untilRC("bob_far.org says first")
}

func TestWhatFollowsAMessageWaitsForIt(t *testing.T) {
	b := newBench(t)
	failures := 2
	b.rc.fail = func(what string) error {
		if strings.Contains(what, "says first") && failures > 0 {
			failures--
			return model.ErrUnavailable
		}
		return nil
	}
	first := b.says(event.KindMXMessage, text("first"))
	b.says(event.KindMXMessage, edit(first, "corrected"))
	b.says(event.KindMXReact, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": first, "key": "👍️"}})
	b.says(event.KindMXMessage, text("second"))
	b.run()
	b.untilRC("bob_far.org says first", "bob_far.org edits to corrected", "bob_far.org reacts :thumbsup: true", "bob_far.org says second")
}

// A homeserver that passes on what it should have refused must not make the bridge delete
// or mark messages.
func TestRedactionsWithoutPowerAndFromOtherRoomsDoNothing(t *testing.T) {
	b := newBench(t)
	const elsewhere, eve = ids.MXRoom("!other:far.org"), ids.MXUser("@eve:far.org")
	b.must(b.Store.PutPortal(t.Context(), model.Portal{RCRoom: "other", MXRoom: elsewhere, RCType: "p", Created: time.Now().Add(-time.Hour)}, nil, nil))
	b.must(b.Store.PutPuppet(t.Context(), model.Puppet{MXUser: eve, RCUser: "eve", Username: "eve_far.org", Name: "Eve (far.org)", Token: secret.New("t")}))
	b.rc.people["eve"] = model.RCProfile{RCPerson: model.RCPerson{ID: "eve", Username: "eve_far.org", Name: "Eve"}, Active: true, Roles: []string{"bot"}}
	first := b.says(event.KindMXMessage, text("first"))
	b.run()
	b.untilRC("bob_far.org says first")
	b.saysIn(mxRoom, eve, event.KindMXRedact, map[string]any{"redacts": first})
	b.saysIn(elsewhere, bob, event.KindMXRedact, map[string]any{"redacts": first})
	b.saysIn(elsewhere, eve, event.KindMXReact, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": first, "key": "👍️"}})
	b.saysIn(elsewhere, eve, event.KindMXMessage, text("last elsewhere"))
	b.saysIn(mxRoom, eve, event.KindMXMessage, text("last"))
	until(t, "the last message", b.rc.log, func(got []string) bool { return len(got) >= 3 })
	for _, did := range b.rc.log() {
		if !strings.Contains(did, " says ") {
			t.Errorf("in Rocket.Chat: %s", did)
		}
	}
	b.says(event.KindMXRedact, map[string]any{"redacts": first})
	until(t, "bob's own deletion", b.rc.log, func(got []string) bool { return len(got) == 4 })
}

func TestWhatFollowsADeadLetterIsSkipped(t *testing.T) {
	b := newBench(t)
	b.rc.fail = func(what string) error {
		if strings.Contains(what, "says first") {
			return fmt.Errorf("%w: a secret of the server", model.ErrRefused)
		}
		return nil
	}
	first := b.says(event.KindMXMessage, text("first"))
	b.says(event.KindMXMessage, edit(first, "corrected"))
	b.says(event.KindMXReact, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": first, "key": "👍️"}})
	b.says(event.KindMXRedact, map[string]any{"redacts": first})
	b.says(event.KindMXMessage, text("second"))
	b.run()
	b.untilRC("bob_far.org says second")
	until(t, "bob to be told", b.mx.log, func(got []string) bool {
		return slices.ContainsFunc(got, func(s string) bool {
			return strings.Contains(s, "was not carried to Rocket.Chat: Rocket.Chat refused it")
		})
	})
	if strings.Contains(strings.Join(b.mx.log(), "\n"), "a secret of the server") {
		t.Error("what the server said is shown in a room")
	}
}

func TestWhoIsDeniedIsToldOnce(t *testing.T) {
	b := newBench(t)
	b.live.Users.Deny = []string{"@bob:*"}
	for range 5 {
		b.says(event.KindMXMessage, text("let me in"))
	}
	b.run()
	until(t, "all to be given up", func() []string {
		n, err := b.Store.(*store.Store).Backlog(t.Context())
		b.must(err)
		return []string{fmt.Sprint(n.Dead)}
	}, func(got []string) bool { return got[0] == "5" })
	if n := len(b.mx.log()); n != 1 {
		t.Errorf("bob was told %d times: %q", n, b.mx.log())
	}
	if got := b.rc.log(); len(got) != 0 {
		t.Errorf("in Rocket.Chat: %q", got)
	}
}

func TestADifferenceIsPutRightAtTheSecondLook(t *testing.T) {
	b := newBench(t)
	b.rc.members = []ids.RCUser{"alice", "bob", "carol"} // carol's ghost is missing
	b.mx.members = []model.MXMember{                     // bob has left, dave has joined
		{User: "@alice:here.org", Membership: "join"}, {User: bob, Membership: "leave"},
	}
	b.run()
	until(t, "carol to join", b.mx.log, func(got []string) bool { return slices.Contains(got, "@carol:here.org joins") })
	until(t, "bob to be removed", b.rc.log, func(got []string) bool { return slices.Contains(got, "removed bob") })
	if slices.Contains(b.mx.log(), "@alice:here.org leaves") || slices.Contains(b.rc.log(), "removed alice") {
		t.Error("alice, who is on both sides, was removed")
	}
}

func TestReadReceiptsFollowTheReader(t *testing.T) {
	b := newBench(t)
	event := b.says(event.KindMXMessage, text("read me"))
	b.run()
	b.untilRC("bob_far.org says read me")
	if got := b.mx.log(); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "has read") }) {
		t.Errorf("on Matrix before alice has read: %q", got)
	}
	b.rc.mu.Lock()
	b.rc.read["alice"] = true
	b.rc.mu.Unlock()
	until(t, "alice's receipt", b.mx.log, func(got []string) bool { return slices.Contains(got, "@alice:here.org has read "+event) })
}

func TestTypingIsNobodysWhenTwoHaveTheName(t *testing.T) {
	b := newBench(t)
	b.person("carol2", "carol2")
	b.rc.people["carol2"] = model.RCProfile{RCPerson: model.RCPerson{ID: "carol2", Username: "carol2", Name: "CAROL"}}
	b.rc.members = []ids.RCUser{"alice", "carol", "carol2"}
	b.run()
	b.TypingInRocketChat(rcRoom, "CAROL", true)  // one of two
	b.TypingInRocketChat(rcRoom, "nobody", true) // nobody
	b.TypingInRocketChat(rcRoom, "ALICE", true)  // by display name
	until(t, "alice to type", b.mx.log, func(got []string) bool { return slices.Contains(got, "@alice:here.org types true") })
	if got := b.mx.log(); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "@carol") && strings.Contains(s, "types") }) {
		t.Errorf("on Matrix: %q", got)
	}
}

func TestTypingOffCostsNothing(t *testing.T) {
	b := newBench(t)
	b.live.Typing = false
	b.run()
	b.TypingOnMatrix(t.Context(), mxRoom, []ids.MXUser{bob})
	b.TypingInRocketChat(rcRoom, "alice", true)
	b.mu.Lock()
	b.live.Typing = true
	b.mu.Unlock()
	b.TypingOnMatrix(t.Context(), mxRoom, []ids.MXUser{bob})
	b.untilRC("bob_far.org types true")
	if got := b.mx.log(); slices.Contains(got, "@alice:here.org types true") {
		t.Error("typing was shown while it was off")
	}
}

func TestAnAddedAccountGoesAgainWhereItMayNotBe(t *testing.T) {
	b := newBench(t)
	b.live.Permissions.Invite = []string{"admin"}
	payload, _ := json.Marshal(map[string]any{"_id": "m1", "rid": rcRoom, "t": "au", "msg": "bob_far.org", "ts": time.Now(), "u": map[string]any{"_id": "carol", "username": "carol"}})
	b.must(b.Accept(t.Context(), []queue.Item{{ID: "rc:m1", Lane: model.RCLane(rcRoom), Kind: event.KindRCMember, Payload: payload}}, nil))
	b.run()
	until(t, "carol to be told", b.rc.log, func(got []string) bool {
		return slices.Contains(got, "removed bob") && slices.ContainsFunc(got, func(s string) bool {
			return strings.HasPrefix(s, "told carol Sorry: the administrator does not let you invite people from Matrix")
		})
	})
}

func TestUnavailableIsNotRefused(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	down := true
	b.rc.fail = func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return errors.Join(model.ErrUnavailable, errors.New("connection refused"))
		}
		return nil
	}
	b.says(event.KindMXMessage, text("patience"))
	b.run()
	<-time.After(300 * time.Millisecond) // several attempts
	if got := b.mx.log(); len(got) > 0 {
		t.Errorf("bob was told while Rocket.Chat was away: %q", got)
	}
	mu.Lock()
	down = false
	mu.Unlock()
	b.untilRC("bob_far.org says patience")
}

// A delivery that panics makes its event a dead letter: the next one goes on, the sender
// is told, and so is the operator, without the text.
func TestADeliveryThatPanicsStopsNothing(t *testing.T) {
	b := newBench(t)
	b.rc.fail = func(what string) error {
		if strings.Contains(what, "says the last straw") {
			panic(what)
		}
		return nil
	}
	straw := b.says(event.KindMXMessage, text("the last straw"))
	b.says(event.KindMXMessage, text("second"))
	b.run()
	b.untilRC("bob_far.org says second")
	until(t, "a word to bob", b.mx.log, func(log []string) bool {
		return strings.Contains(strings.Join(log, "\n"), "was not carried to Rocket.Chat: it cannot be processed")
	})
	dead, err := b.Store.(*store.Store).DeadLetters(t.Context(), 10)
	if err != nil || len(dead) != 1 || dead[0].ID != straw || !strings.Contains(dead[0].Cause, "panicked") || strings.Contains(dead[0].Cause, "straw") {
		t.Errorf("dead letters: %+v, %v", dead, err)
	}
}

// A file whose link leads outside the uploads is refused for good: a line of text takes
// its place, its author is told, and the next file arrives.
func TestARefusedFileIsReplacedAndTheNextOneArrives(t *testing.T) {
	b := newBench(t)
	upload := func(id, link string) {
		payload, _ := json.Marshal(map[string]any{
			"_id": "m-" + id, "rid": rcRoom, "msg": "", "ts": time.Now(), "u": map[string]any{"_id": "alice", "username": "alice"},
			"file": map[string]any{"_id": id, "name": id + ".txt", "type": "text/plain", "size": 4}, "attachments": []map[string]any{{"title": id + ".txt", "title_link": link}},
		})
		b.must(b.Accept(t.Context(), []queue.Item{{ID: "rc:m-" + id, Lane: model.RCLane(rcRoom), Kind: event.KindRCMessage, Payload: payload}}, nil))
	}
	b.rc.people["alice"] = model.RCProfile{RCPerson: model.RCPerson{ID: "alice", Username: "alice"}, Active: true}
	upload("odd", "/file-upload/odd/..%2f..%2fapi/v1/me")
	upload("plain", "/file-upload/plain/plain.txt")
	b.run()
	until(t, "the second file", b.mx.log, func(log []string) bool {
		return slices.ContainsFunc(log, func(s string) bool { return strings.HasSuffix(s, "says plain.txt") })
	})
	log := b.mx.log()
	line := slices.IndexFunc(log, func(s string) bool { return strings.Contains(s, "says [odd.txt]") })
	if line < 0 || line > slices.IndexFunc(log, func(s string) bool { return strings.HasSuffix(s, "says plain.txt") }) {
		t.Errorf("on Matrix: %q", log)
	}
	if told := b.rc.log(); !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, `told alice Your file "odd.txt" was not carried`) }) {
		t.Errorf("alice was told %q", told)
	}
}

// A portal begins at a time that all processes agree on, whatever the clock of the one
// that opens it says: the others use it to decide which messages are older.
func TestAPortalBeginsAtTheTimeOfAll(t *testing.T) {
	b := newBench(t)
	const ahead = 10 * time.Minute
	b.Now = func() time.Time { return time.Now().Add(ahead) }
	b.RC, b.MX = groupChat{b.rc}, newRoom{b.mx}
	b.run()
	const room = ids.MXRoom("!garden:far.org")
	began := b.Now()
	b.must(b.Accept(t.Context(), []queue.Item{model.InvitationItem("$invitation", event.MXInvited{Room: room, Ghost: "@alice:here.org", Inviter: bob})}, nil))
	var p model.Portal
	b.wait("the room to be bridged", func() (ok bool) {
		var err error
		p, ok, err = b.Store.PortalByMX(t.Context(), room)
		b.must(err)
		return ok
	})
	if p.Created.Before(began.Truncate(time.Second)) || p.Created.After(b.Now()) {
		t.Errorf("it began at %v, want about %v", p.Created, began)
	}
}

// groupChat creates a group.
type groupChat struct{ *chat }

func (groupChat) CreateGroup(context.Context, string, model.RCPerson, func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error) {
	return model.RCRoomInfo{ID: "garden", Type: "p"}, nil
}

func (groupChat) Watch(model.Portal) {}

func (c groupChat) UserByID(_ context.Context, id ids.RCUser) (model.RCPerson, bool, error) {
	p, ok := c.people[id]
	return p.RCPerson, ok, nil
}

// newRoom is a homeserver with a room that is not bridged.
type newRoom struct{ *matrix }

func (newRoom) Creation(context.Context, ids.MXRoom, ids.MXUser) (model.MXCreation, error) {
	return model.MXCreation{}, nil
}

func (newRoom) Bridges(context.Context, ids.MXRoom, ids.MXUser) ([]model.BridgeInfo, error) {
	return nil, nil
}
