package bridge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
)

// A server announces files and never sends them. The room is not blocked.
func TestAttackFilesThatNeverArrive(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	release := make(chan struct{})
	server := silentServer(t, release)
	t.Cleanup(func() { close(release) })
	began := time.Now()
	for n := range 5 {
		s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
			"msgtype": "m.file", "body": fmt.Sprint("see page ", n), "filename": "never.pdf", "url": fmt.Sprintf("mxc://%s/never%d", server, n),
			"info": map[string]any{"mimetype": "application/pdf", "size": 100 << 20},
		})
	}
	s.bob.Send(s.mxRoom, "and after them")
	s.messageText("and after them")
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("the room stood still for %v", took)
	}
	for n := range 5 {
		s.messageText(fmt.Sprint("see page ", n))
	}
}

// There are more files that never arrive than lanes, each in a room of its own and from a
// server of its own: an unrelated room is not blocked, and neither are theirs.
func TestAttackFilesThatNeverArriveInEveryRoom(t *testing.T) {
	t.Parallel()
	if !mxtest.Hermetic() {
		mustrun.Skip(t, "70 rooms take a real homeserver a minute; `make test` runs this on the hermetic one")
	}
	const rooms = model.Lanes + 6
	s := newStage(t)
	s.configure("flood: {invitations_per_person: 0, invitations_per_server: 0}\n")
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	mallory := s.far.Register("mallory", "Mallory")
	var opened []string
	for n := range rooms {
		room := mallory.CreateRoom(fmt.Sprint("trap ", n), false, s.alice())
		s.hint(room, s.alice(), mallory.ID)
		opened = append(opened, room)
	}
	traps := map[string]string{}
	for _, room := range opened {
		s.waitForGhost(mallory, room, s.alice())
		traps[room] = silentServer(t, release)
	}
	began := time.Now()
	for room, server := range traps {
		mallory.SendEvent(room, "m.room.message", map[string]any{
			"msgtype": "m.file", "body": "never.pdf", "url": fmt.Sprintf("mxc://%s/never", server),
			"info": map[string]any{"mimetype": "application/pdf", "size": 100 << 20},
		})
		mallory.Send(room, "and after it")
	}
	s.bob.Send(s.mxRoom, "does this room go on?")
	s.messageText("does this room go on?")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("another room stood still for %v", took)
	}
	waitUntil(t, "the rooms of the files to go on", 45*time.Second, func() bool {
		n := 0
		for _, r := range s.rooms() {
			n += len(slices.DeleteFunc(s.rc.Said(fmt.Sprint(r["_id"])), func(m rctest.Message) bool { return m.Text != "and after it" }))
		}
		return n == rooms
	})
}

// silentServer starts a Matrix server that answers nothing until release is closed,
// and returns its name.
func silentServer(t *testing.T, release <-chan struct{}) string {
	t.Helper()
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { silent.CloseClientConnections(); silent.Close() })
	return "localhost:" + silent.URL[strings.LastIndex(silent.URL, ":")+1:]
}

// dmWithBob opens a direct room between alice and bob.
func dmWithBob(t *testing.T) (w *world, bob *mxtest.Person, dm, mxRoom string) {
	t.Helper()
	w = newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob = w.far.Register("bob", "Bob Builder")
	w.must(alice, w.rc.CreateRoom("p", "plans", "alice"), "federation", "dm "+bob.ID)
	mxRoom, _ = bob.AcceptInvitation()
	return w, bob, w.directWith("alice", "bob_"), mxRoom
}

// noticed waits for a notice from the bridge in a Matrix room.
func noticed(t *testing.T, p *mxtest.Person, room, text string) {
	t.Helper()
	mxtest.WaitFor(t, "the notice "+text, func() bool {
		for _, e := range p.Timeline(room) {
			if e.Content.MsgType == "m.notice" && strings.Contains(e.Content.Body, text) {
				return true
			}
		}
		return false
	})
}

// A third person in a direct room on Matrix makes it a group in Rocket.Chat. Its members are
// told about the new reader, and the direct room keeps what was said in it to itself.
func TestAThirdPersonInADirectRoomIsToldAndAnnounced(t *testing.T) {
	t.Parallel()
	w, bob, dm, mxRoom := dmWithBob(t)
	carol := w.far.Register("carol", "Carol")
	bob.Must("POST", "/_matrix/client/v3/rooms/"+mxRoom+"/invite", map[string]any{"user_id": carol.ID}, nil)
	carol.AcceptInvitation()
	if told := w.told("alice", carol.ID); !strings.Contains(told, "can read it") {
		t.Errorf("alice was told %q", told)
	}
	group := ""
	mxtest.WaitFor(t, "a group of the three", func() bool {
		for _, r := range w.rooms() {
			if id := fmt.Sprint(r["_id"]); r["t"] == "p" && has(w.rc.Members(id), "bob_") && has(w.rc.Members(id), "carol_") {
				group = id
			}
		}
		return group != ""
	})
	carol.Send(mxRoom, "may I?")
	w.rc.WaitFor(t, group, "may I?")
	bob.Send(mxRoom, "of course")
	w.rc.WaitFor(t, group, "of course")
	if said := w.saidInRC(dm); slices.ContainsFunc(said, func(s string) bool { return strings.HasSuffix(s, "may I?") }) {
		t.Errorf("in the direct room: %q", said)
	}
}

// An administrator deletes or deactivates a Matrix user's account: that user is told
// when writing, and the room goes on.
func TestAPuppetThatIsGoneStopsNobody(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(s *stage, admin rctest.Person){
		"deleted": func(s *stage, admin rctest.Person) {
			s.call(admin, http.MethodPost, "users.delete", map[string]any{"username": s.puppet, "confirmRelinquish": true}, nil)
		},
		"deactivated": func(s *stage, admin rctest.Person) {
			s.call(admin, http.MethodPost, "users.setActiveStatus", map[string]any{"userId": s.rc.User(s.puppet)["_id"], "activeStatus": false, "confirmRelinquish": true}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			carol := s.far.Register("carol", "Carol")
			s.must(s.rc.Login("alice"), s.room, "bridge", "invite "+carol.ID)
			carol.AcceptInvitation()
			remove(s, s.rc.Admin())
			s.bob.Send(s.mxRoom, "is this on?")
			carol.Send(s.mxRoom, "it is for me")
			s.messageText("it is for me")
			noticed(t, s.bob, s.mxRoom, "deleted or deactivated")
		})
	}
}

// An event that makes the homeserver's /sync fail forever does not block what is read
// from there, such as deletions in direct rooms.
func TestAttackAnEventThatCannotBeShown(t *testing.T) {
	t.Parallel()
	if mxtest.SoftwareOf(mxtest.Kind(t)).RefusesDeepEvents {
		mustrun.Skip(t, "the homeserver refuses events that are nested so deep; `make test` runs this with Dendrite")
	}
	w, bob, dm, mxRoom := dmWithBob(t)
	event := bob.Send(mxRoom, "a word too many")
	w.rc.WaitFor(t, dm, "a word too many")
	deep := json.RawMessage(strings.Repeat("[", 9985) + strings.Repeat("]", 9985))
	for n := range 10 { // one of them is too deep for /sync and not too deep for the rest
		deep = json.RawMessage("[" + string(deep) + "]")
		bob.SendEvent(mxRoom, "m.room.message", map[string]any{"msgtype": "m.text", "body": fmt.Sprint("deep ", n), "deep": deep})
	}
	bob.Send(mxRoom, "after the deep ones")
	w.rc.WaitFor(t, dm, "after the deep ones")
	bob.Redact(mxRoom, event)
	waitUntil(t, "the word to be deleted in Rocket.Chat", 90*time.Second, func() bool {
		return !slices.ContainsFunc(w.rc.Said(dm), func(m rctest.Message) bool { return m.Text == "a word too many" })
	})
	if log := w.log.String(); !strings.Contains(log, "sync keeps failing; it restarts from a new position") || !strings.Contains(log, "mx_user="+w.alice()) {
		t.Error("nothing says that reading began from a new position, and as whom")
	}
}
