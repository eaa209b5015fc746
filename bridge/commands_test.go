package bridge_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// told waits until the bridge has sent a person a direct message that contains text.
func (w *world) told(username, text string) string {
	w.t.Helper()
	found := ""
	mxtest.WaitFor(w.t, username+" to be told "+text, func() bool {
		for _, said := range w.toldTexts(username) {
			if strings.Contains(said, text) {
				found = said
			}
		}
		return found != ""
	})
	return found
}

// toldTexts returns the direct messages between a person and the bridge.
func (w *world) toldTexts(username string) (texts []string) {
	w.t.Helper()
	p := w.rc.Login(username)
	var ims struct {
		IMs []struct {
			ID        string   `json:"_id"`
			Usernames []string `json:"usernames"`
		} `json:"ims"`
	}
	w.call(p, http.MethodGet, "im.list?count=100", nil, &ims)
	for _, im := range ims.IMs {
		if !slices.Contains(im.Usernames, "matrix-bridge") {
			continue
		}
		for _, m := range w.rc.Messages(im.ID) {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

func TestFeatureCommands(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.people["alice"]
	s.must(alice, s.room, "bridge", "help")
	s.told("alice", "/federation join")
	s.must(alice, s.room, "bridge", "status")
	if text := s.told("alice", "connected with the Matrix room "+s.mxRoom); !strings.Contains(text, s.far.Name+" (1)") {
		t.Errorf("status = %s", text)
	}
	s.must(alice, s.room, "bridge", "whois @"+s.puppet)
	s.told("alice", "@"+s.puppet+" is "+s.bob.ID+" on Matrix")
	s.must(alice, s.room, "bridge", "whois "+s.bob.ID)
	s.told("alice", s.bob.ID+" is @"+s.puppet+" here")
	s.must(alice, s.room, "bridge", "whois alice")
	s.told("alice", "@alice is "+s.alice())

	// Typed where the web server does not see it, a command arrives as a message.
	s.rc.Say(s.room, "alice", "/bridge whois @nobody-at-all")
	s.told("alice", "there is nobody called nobody-at-all")
	s.rc.Say(s.room, "alice", "after the command")
	s.findText("after the command")
	for _, said := range saidOnMatrix(s.bob, s.mxRoom) {
		if strings.Contains(said, "whois") {
			t.Errorf("a command was carried to Matrix: %s", said)
		}
	}

	s.must(alice, s.room, "bridge", "kick "+s.bob.ID)
	mxtest.WaitFor(t, "bob to be out on both sides", func() bool { return !slices.Contains(s.rc.Members(s.room), s.puppet) })
	mxtest.WaitFor(t, "bob to be known as gone", func() bool {
		status, body := s.command(alice, s.room, "bridge", "kick "+s.bob.ID)
		return status == http.StatusBadRequest && strings.Contains(body, "is not in this room")
	})
}

func TestFeatureUnbridge(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	eve := s.rc.CreateUser("eve")
	s.rc.Invite(s.room, "alice", "eve")
	if status, body := s.command(eve, s.room, "bridge", "unbridge"); status != http.StatusBadRequest || !strings.Contains(body, "only an owner") {
		t.Errorf("eve unbridged: %d %s", status, body)
	}
	s.must(s.people["alice"], s.room, "bridge", "unbridge")
	mxtest.WaitFor(t, "bob's account to be gone", func() bool { return !slices.Contains(s.rc.Members(s.room), s.puppet) })
	if got := s.bob.Members(s.mxRoom)[s.alice()]; got != "join" && got != "leave" {
		t.Errorf("alice on Matrix: %q", got)
	}
	mxtest.WaitFor(t, "alice to be gone from Matrix", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "leave" })
	s.find("a word of farewell", func(_ string, c map[string]any) bool {
		return strings.Contains(fmt.Sprint(c["body"]), "has ended the connection")
	})
	s.bob.Send(s.mxRoom, "anybody here?")
	s.rc.Say(s.room, "alice", "alone again")
	// Dendrite 0.15 breaks its own view of a room when others join at the moment it
	// does.
	s.rc.Kick(s.room, "alice", "eve")
	s.must(s.people["alice"], s.room, "bridge", "invite "+s.bob.ID)
	room, _ := s.bob.AcceptInvitation()
	if room == s.mxRoom {
		t.Error("the old room is used again")
	}
	s.warmUp(s.bob, room, s.room)
	s.rc.Say(s.room, "alice", "a new beginning")
	mxtest.WaitFor(t, "the new beginning", func() bool { return slices.Contains(saidOnMatrix(s.bob, room), s.alice()+": a new beginning") })
	if slices.Contains(s.saidInRC(s.room), s.puppet+": anybody here?") {
		t.Error("something crossed after the connection had ended")
	}
}

func TestFeaturePublicRooms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot")
	lobby := w.rc.CreateRoom("p", "lobby", "alice")
	bob := w.far.Register("bob", "Bob Builder")
	var made struct {
		Room string `json:"room_id"`
	}
	bob.Must("POST", "/_matrix/client/v3/createRoom", map[string]any{
		"preset": "public_chat", "visibility": "public", "name": "Garden Club", "topic": "About gardens", "room_alias_name": "garden",
	}, &made)
	alias := "#garden:" + w.far.Name
	w.must(alice, lobby, "federation", "rooms "+w.far.Name+" garden")
	if text := w.told("alice", alias); !strings.Contains(text, "Garden Club (1 people), About gardens") {
		t.Errorf("rooms = %s", text)
	}
	w.must(alice, lobby, "federation", "join "+alias)
	w.told("alice", "You have joined "+alias)
	room := w.roomNamed("Garden-Club")
	if room == "" {
		t.Fatal("there is no room Garden-Club")
	}
	bob.Send(made.Room, "welcome")
	mxtest.WaitFor(t, "welcome", func() bool {
		return slices.ContainsFunc(w.saidInRC(room), func(s string) bool { return strings.HasSuffix(s, ": welcome") })
	})
	w.rc.Say(room, "alice", "thank you")
	mxtest.WaitFor(t, "thank you", func() bool { return slices.Contains(saidOnMatrix(bob, made.Room), w.alice()+": thank you") })
	for params, want := range map[string]string{
		"join #nothing:" + w.far.Name: "there is no room",
		"join garden":                 "needs one address of a room",
		"rooms localhost:1":           "does not answer",
	} {
		if status, body := w.command(alice, lobby, "federation", params); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("/federation %s: %d %s, want %q", params, status, body, want)
		}
	}
}

func TestFeaturePermissions(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.people["alice"]
	mods := s.rc.CreateUser("mods", "user", "moderator")
	s.configure("permissions: {direct: [moderator], invite: [admin], join: [admin]}\n")
	refused := func(who rctest.Person, name, params, want string) {
		t.Helper()
		if status, body := s.command(who, s.room, name, params); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("/%s %s: %d %s, want %q", name, params, status, body, want)
		}
	}
	refused(alice, "federation", "dm "+s.bob.ID, "you may not open direct messages")
	refused(alice, "bridge", "invite @carol:"+s.far.Name, "does not let you invite")
	refused(alice, "federation", "rooms "+s.far.Name, "does not let you look")
	s.must(mods, s.room, "federation", "dm "+s.bob.ID)

	// What bypasses the commands is held to the same rules.
	other := s.rc.CreateRoom("p", "other", "alice")
	s.configure("")
	dave := s.far.Register("dave", "Dave")
	s.must(alice, other, "bridge", "invite "+dave.ID)
	dave.AcceptInvitation()
	s.configure("permissions: {direct: [moderator], invite: [admin], join: [admin]}\n")
	s.rc.Invite(other, "alice", s.puppet)
	s.told("alice", "does not let you invite people from Matrix")
	mxtest.WaitFor(t, "bob's account to be removed again", func() bool { return !slices.Contains(s.rc.Members(other), s.puppet) })
	dm := s.rc.CreateDirect("alice", s.puppet)
	s.rc.Say(dm, "alice", "past the command")
	s.told("alice", "does not let you open direct messages")

	// A denied person is told once, and none of their messages cross.
	s.configure("users: {deny: [\"@bob:*\"]}\n")
	s.bob.Send(s.mxRoom, "denied one")
	s.bob.Send(s.mxRoom, "denied two")
	_, c := s.find("the word to bob", func(_ string, c map[string]any) bool { return c["msgtype"] == "m.notice" })
	if !strings.Contains(fmt.Sprint(c["body"]), "does not allow messages from "+s.bob.ID) {
		t.Errorf("bob is told %v", c["body"])
	}
	s.rc.Say(s.room, "alice", "still here")
	s.findText("still here")
	mxtest.WaitFor(t, "both to be dealt with", func() bool { return strings.Count(s.log.String(), "level=ERROR msg=\"gave up\"") >= 2 })
	notices := 0
	for _, e := range s.bob.Events(s.mxRoom) {
		if c, _ := e["content"].(map[string]any); c["msgtype"] == "m.notice" {
			notices++
		}
	}
	if notices != 1 {
		t.Errorf("bob was told %d times", notices)
	}
	if said := s.saidInRC(s.room); slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "denied") }) {
		t.Errorf("said in Rocket.Chat: %q", said)
	}
	refused(mods, "federation", "dm "+s.bob.ID, "does not allow conversations with "+s.bob.ID)
}

func TestFeatureFloodLimits(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.configure("flood: {per_person: 5, per_server: 100}\n")
	for i := range 12 {
		s.bob.Send(s.mxRoom, fmt.Sprint("flood ", i))
	}
	s.find("the word to bob", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.notice" && strings.Contains(fmt.Sprint(c["body"]), "too many messages")
	})
	mxtest.WaitFor(t, "the rest to be kept back", func() bool { return strings.Count(s.log.String(), "level=ERROR msg=\"gave up\"") >= 2 })
	if n := len(only(s.saidInRC(s.room), "bob_")); n < 5 || n > 10 { // ten if a minute ends in between
		t.Errorf("%d messages crossed", n)
	}
	s.configure("flood: {per_person: 0}\n")
	s.bob.Send(s.mxRoom, "without limit")
	s.messageText("without limit")
}

// Administrators see the queue from the chat and retry dead letters there; others
// cannot.
func TestAdministratorsSeeTheQueueInTheChat(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ada, carol := s.rc.CreateUser("ada", "user", "admin"), s.rc.CreateUser("carol", "user")
	activate := func(on bool) {
		s.call(s.rc.Admin(), http.MethodPost, "users.setActiveStatus", map[string]any{"userId": s.rc.User(s.puppet)["_id"], "activeStatus": on, "confirmRelinquish": true}, nil)
	}
	activate(false)
	s.bob.Send(s.mxRoom, "words that nobody may see")
	mxtest.WaitFor(t, "the message to be given up", func() bool {
		_, page := s.get("/metrics")
		return strings.Contains(page, "appliance_bridge_dead_letters 1")
	})
	for _, params := range []string{"queue", "retry all", "rooms"} {
		if status, _ := s.command(carol, "GENERAL", "bridge", params); status == http.StatusOK {
			t.Errorf("/bridge %s of carol: %d", params, status)
		}
	}
	s.told("carol", "only an administrator may do that")
	s.must(ada, "GENERAL", "bridge", "queue")
	if said := s.told("ada", "1 to Rocket.Chat."); !strings.Contains(said, "account_gone") || strings.Contains(said, "words that nobody may see") {
		t.Errorf("ada reads %q", said)
	}
	s.must(ada, "GENERAL", "bridge", "status")
	if said := s.told("ada", "Everything is connected."); !strings.Contains(said, "Given up: 0 to Matrix, 1 to Rocket.Chat.") || !strings.Contains(said, "this room is not connected with Matrix") {
		t.Errorf("ada reads %q", said)
	}
	s.must(ada, "GENERAL", "bridge", "rooms "+s.mxRoom)
	if said := s.told("ada", "Connected rooms: 1."); !strings.Contains(said, s.room) || !strings.Contains(said, "1 to Rocket.Chat.") || !strings.Contains(said, "Last error: the account is gone") || strings.Contains(said, "words that nobody may see") {
		t.Errorf("ada reads %q", said)
	}
	s.must(ada, "GENERAL", "bridge", "rooms no such words")
	s.told("ada", "These are the newest that fit: none.")
	if s.must(s.people["alice"], s.room, "bridge", "status"); strings.Contains(s.told("alice", "connected with the Matrix room"), "Everything is connected") {
		t.Error("alice, who is no administrator, reads the state of the bridge")
	}
	s.bob.Send(s.mxRoom, "more of these words")
	mxtest.WaitFor(t, "both to be given up", func() bool {
		_, page := s.get("/metrics")
		return strings.Contains(page, "appliance_bridge_dead_letters 2")
	})
	s.must(ada, "GENERAL", "bridge", "queue")
	listed := regexp.MustCompile("`([^` ]+)` mx.message, account_gone").FindAllStringSubmatch(s.told("ada", "2 to Rocket.Chat."), -1)
	if len(listed) != 2 {
		t.Fatalf("ada sees %v", listed)
	}
	activate(true)
	s.must(ada, "GENERAL", "bridge", "retry "+listed[1][1])
	s.told("ada", "1 item is queued again")
	s.messageText("more of these words")
	if said := s.saidInRC(s.room); slices.ContainsFunc(said, func(text string) bool { return strings.Contains(text, "words that nobody may see") }) {
		t.Errorf("an item that was not named was tried again: %q", said)
	}
	s.must(ada, "GENERAL", "bridge", "retry all")
	s.told("ada", "1 item is queued again")
	s.messageText("words that nobody may see")
}
