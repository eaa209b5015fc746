package bridge_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// asService makes a request to our homeserver as the bridge would.
func (w *world) asService(user, path string, body any) {
	w.t.Helper()
	w.asServiceDo(http.MethodPost, user, path, body)
}

func (w *world) asServiceDo(method, user, path string, body any) {
	w.t.Helper()
	data, _ := json.Marshal(body)
	req, _ := http.NewRequest(method, w.home.URL+"/_matrix/client/v3"+path+"?user_id="+url.QueryEscape(user), bytes.NewReader(data))
	req.Header.Set("Authorization", "Bearer as-token-for-tests")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d", path, res.StatusCode)
	}
}

// compareOften restarts the bridge so that it compares rooms all the time.
func (w *world) compareOften() {
	w.t.Helper()
	w.stop()
	w.often = 300 * time.Millisecond
	w.startBridge()
}

func TestFeatureReconcile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	carol := s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	ghost := "@carol:" + s.home.Name
	mxtest.WaitFor(t, "carol on Matrix", func() bool { return s.bob.Members(s.mxRoom)[ghost] == "join" })
	s.compareOften()

	// No event says that alice's ghost is gone.
	s.asService(s.alice(), "/rooms/"+s.mxRoom+"/leave", map[string]any{})
	mxtest.WaitFor(t, "alice to be out", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "leave" })
	mxtest.WaitFor(t, "alice to be back on Matrix", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "join" })

	// The bridge ignores what its own account does.
	puppetID := s.rc.User(s.puppet)["_id"]
	s.call(s.bot, http.MethodPost, "groups.kick", map[string]any{"roomId": s.room, "userId": puppetID}, nil)
	mxtest.WaitFor(t, "bob to be back in Rocket.Chat", func() bool { return slices.Contains(s.rc.Members(s.room), s.puppet) })

	// No event announces that an account is deactivated, either.
	s.call(s.bot, http.MethodPost, "users.setActiveStatus", map[string]any{"userId": carol.ID, "activeStatus": false, "confirmRelinquish": true}, nil)
	mxtest.WaitFor(t, "carol to be gone from Matrix", func() bool { return s.bob.Members(s.mxRoom)[ghost] == "leave" })

	s.bob.Send(s.mxRoom, "all well")
	s.messageText("all well")
}

// What was said in a Matrix room before one of our users joined stays there, even
// while the bridge has just started and searches for what it may have missed.
func TestFeatureOnlyWhatIsSaidAfterJoining(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	room := s.bob.CreateRoom("Attic", false)
	s.bob.Send(room, "before anybody came")
	s.bob.Must("POST", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/invite", map[string]any{"user_id": s.alice()}, nil)
	s.hint(room, s.alice(), s.bob.ID)
	mxtest.WaitFor(t, "the room in Rocket.Chat", func() bool { return s.roomNamed("Attic") != "" })
	rc := s.roomNamed("Attic")
	mxtest.WaitFor(t, "the first word that is carried", func() bool {
		s.bob.Send(room, "after") // Dendrite may miss messages sent at the very moment of a join
		return slices.Contains(s.saidInRC(rc), s.puppet+": after")
	})
	if said := s.saidInRC(rc); slices.Contains(said, s.puppet+": before anybody came") {
		t.Errorf("in Rocket.Chat: %q", said)
	}
}

// TestFeatureRoomDeleted: the people left in the Matrix room are told, and no ghost
// stays behind that nobody speaks through.
func TestFeatureRoomDeleted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.compareOften()
	s.api("alice", "groups.delete", map[string]any{"roomId": s.room})
	s.find("the reason", func(_ string, c map[string]any) bool {
		body, _ := c["body"].(string)
		return c["msgtype"] == "m.notice" && strings.HasPrefix(body, "This room no longer exists in Rocket.Chat")
	})
	mxtest.WaitFor(t, "alice to be gone from Matrix", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "leave" })
}

// TestFeatureLostHints: an invitation is accepted even if the web server could not notify the bridge.
func TestFeatureLostHints(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.compareOften()
	room := s.bob.CreateRoom("Without a hint", false, s.alice())
	mxtest.WaitFor(t, "alice to join", func() bool { return s.bob.Members(room)[s.alice()] == "join" })
	mxtest.WaitFor(t, "the room in Rocket.Chat", func() bool { return s.roomNamed("Without-a-hint") != "" })
}

// TestFeatureDirectRedactions: Dendrite does not push these; the bridge reads them
// through the ghost.
func TestFeatureDirectRedactions(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dmRoom := s.bob.CreateRoom("", true, s.alice())
	s.hint(dmRoom, s.alice(), s.bob.ID)
	s.waitForGhost(s.bob, dmRoom, s.alice())
	mine := s.bob.Send(dmRoom, "regretted in private")
	dm := s.directWith("alice", "bob_localhost")
	s.waitForRC(dm, s.puppet+": regretted in private")
	s.bob.Redact(dmRoom, mine)
	mxtest.WaitFor(t, "the deletion", func() bool {
		return !slices.ContainsFunc(s.rc.Messages(dm), func(m rctest.Message) bool { return m.Text == "regretted in private" })
	})
}

// TestFeatureAnotherBridge: a room that another bridge connects to this Rocket.Chat
// is left alone.
func TestFeatureAnotherBridge(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	room := s.bob.CreateRoom("Twice", false)
	s.bob.Must("PUT", "/_matrix/client/v3/rooms/"+room+"/state/uk.half-shot.bridge/other", map[string]any{
		"bridgebot": "@other:" + s.far.Name, "protocol": map[string]any{"id": "rocketchat", "external_url": s.rc.URL}, "channel": map[string]any{"id": "GENERAL"},
	}, nil)
	s.bob.Must("POST", "/_matrix/client/v3/rooms/"+room+"/invite", map[string]any{"user_id": s.alice()}, nil)
	s.hint(room, s.alice(), s.bob.ID)
	mxtest.WaitFor(t, "alice to leave again", func() bool { return s.bob.Members(room)[s.alice()] == "leave" })
	if s.roomNamed("Twice") != "" {
		t.Error("the room is bridged twice")
	}
	// A message that another bridge carried from here does not come back.
	id := s.rc.Say(s.room, "alice", "only once")
	s.findText("only once")
	s.rc.Say(s.room, "alice", "and the next one") // is sent when the result of the first one is known
	s.findText("and the next one")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{"msgtype": "m.text", "body": "only once", "org.appliance.source": id})
	s.bob.Send(s.mxRoom, "after it")
	s.messageText("after it")
	if said := s.saidInRC(s.room); slices.ContainsFunc(said, func(x string) bool { return strings.HasPrefix(x, s.puppet) && strings.HasSuffix(x, "only once") }) {
		t.Errorf("said in Rocket.Chat: %q", said)
	}
}

// garden is a room of bob's on Matrix that is read through the user who came first, alice.
type garden struct {
	*stage
	room, rcRoom, carol string
}

// newGarden makes alice enter a room to which bob also invites other users.
func newGarden(s *stage, others ...string) *garden {
	s.t.Helper()
	s.rc.CreateUser("carol")
	g := &garden{stage: s, carol: "@carol:" + s.home.Name}
	invited := []string{s.alice()}
	for _, name := range others {
		invited = append(invited, "@"+name+":"+s.home.Name)
	}
	g.room = s.bob.CreateRoom("Garden", false, invited...)
	s.hint(g.room, s.alice(), s.bob.ID)
	mxtest.WaitFor(s.t, "the room in Rocket.Chat", func() bool { return s.roomNamed("Garden") != "" })
	g.rcRoom = s.roomNamed("Garden")
	g.bobSays("welcome") // then the rooms are connected
	return g
}

func (g *garden) carolEnters() {
	g.t.Helper()
	g.hint(g.room, g.carol, g.bob.ID)
	mxtest.WaitFor(g.t, "carol in Rocket.Chat", func() bool { return slices.Contains(g.rc.Members(g.rcRoom), "carol") })
}

func (g *garden) aliceLeaves() {
	g.t.Helper()
	g.rc.Leave(g.rcRoom, "alice")
	mxtest.WaitFor(g.t, "alice to be gone from Matrix", func() bool { return g.bob.Members(g.room)[g.alice()] == "leave" })
}

// bobSays waits until what bob says is in Rocket.Chat, and returns its event.
func (g *garden) bobSays(text string) (event string) {
	g.t.Helper()
	event = g.bob.Send(g.room, text)
	mxtest.WaitFor(g.t, "what bob says", func() bool { return slices.Contains(g.saidInRC(g.rcRoom), g.puppet+": "+text) })
	return event
}

// isDeleted waits until what bob said is no longer in Rocket.Chat.
func (g *garden) isDeleted(text string) {
	g.t.Helper()
	mxtest.WaitFor(g.t, "the deletion", func() bool { return !slices.Contains(g.saidInRC(g.rcRoom), g.puppet+": "+text) })
}

// deletionsArrive: what bob says and deletes is deleted in Rocket.Chat.
func (g *garden) deletionsArrive() {
	g.t.Helper()
	g.bob.Redact(g.room, g.bobSays("a mistake"))
	g.isDeleted("a mistake")
}

// TestFeatureTheFirstOneLeaves: a room goes on when the user through whom the bridge
// read it has left.
func TestFeatureTheFirstOneLeaves(t *testing.T) {
	t.Parallel()
	g := newGarden(newStage(t), "carol")
	g.carolEnters()
	g.aliceLeaves()
	mine := g.bobSays("still there?")
	g.rc.Say(g.rcRoom, "carol", "yes")
	mxtest.WaitFor(t, "the answer", func() bool { return slices.Contains(saidOnMatrix(g.bob, g.room), g.carol+": yes") })
	g.bob.Redact(g.room, mine)
	g.isDeleted("still there?")
}

// TestARoomIsReadWhenTheFirstOneIsRemoved: a deletion reaches Rocket.Chat after the user
// through whom the room was read was removed on Matrix.
func TestARoomIsReadWhenTheFirstOneIsRemoved(t *testing.T) {
	t.Parallel()
	g := newGarden(newStage(t), "carol")
	g.carolEnters()
	g.bob.Must("POST", "/_matrix/client/v3/rooms/"+g.room+"/kick", map[string]any{"user_id": g.alice()}, nil)
	mxtest.WaitFor(t, "alice to be gone from Rocket.Chat", func() bool { return !slices.Contains(g.rc.Members(g.rcRoom), "alice") })
	g.deletionsArrive()
}

// TestARoomWhoseReaderIsNoLongerThereIsReadByAnother: the comparison of rooms finds another user
// through whom a room can be read.
func TestARoomWhoseReaderIsNoLongerThereIsReadByAnother(t *testing.T) {
	t.Parallel()
	g := newGarden(newStage(t), "carol")
	g.carolEnters()
	g.aliceLeaves()
	g.stop()
	db, err := sql.Open("sqlite", "file:"+g.dir+"/bridge.db")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE portals SET mx_reader = ? WHERE mx_room = ?", g.alice(), g.room); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	g.often = 300 * time.Millisecond
	g.startBridge()
	g.deletionsArrive()
}

// TestTheNextOneReadsARoomThatEverybodyHadLeft: a room that nobody read any more is read
// through the next user who is invited.
func TestTheNextOneReadsARoomThatEverybodyHadLeft(t *testing.T) {
	t.Parallel()
	g := newGarden(newStage(t))
	g.aliceLeaves()
	g.bob.Must("POST", "/_matrix/client/v3/rooms/"+g.room+"/invite", map[string]any{"user_id": g.carol}, nil)
	g.carolEnters()
	g.deletionsArrive()
}

// TestADeletionBeforeTheFirstReadingThroughAnotherUser: a deletion reaches Rocket.Chat although it
// is older than the first /sync of the user through whom the room is read from now on.
func TestADeletionBeforeTheFirstReadingThroughAnotherUser(t *testing.T) {
	t.Parallel()
	g := newGarden(newGatedStage(t), "carol")
	g.carolEnters()
	unread := g.gate.refuse(always, http.MethodGet, "/sync", http.StatusBadGateway, "M_UNKNOWN").to(g.carol)
	g.aliceLeaves()
	mine := g.bobSays("still there?")
	g.bob.Redact(g.room, mine)
	mxtest.WaitFor(t, "the homeserver to have the deletion", func() bool {
		var e struct {
			Unsigned struct {
				Because json.RawMessage `json:"redacted_because"`
			} `json:"unsigned"`
		}
		path := "/_matrix/client/v3/rooms/" + g.room + "/event/" + mine + "?user_id=" + url.QueryEscape(g.carol)
		_, err := g.home.As("as-token-for-tests").Call(t.Context(), http.MethodGet, path, nil, &e)
		return err == nil && e.Unsigned.Because != nil
	})
	if mxtest.Traits(t).PushesPart { // else nobody is read
		unread.waitFor(t, 1)
	}
	unread.lift()
	g.isDeleted("still there?")
}
