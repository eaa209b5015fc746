package bridge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// roomOfBobs returns a stage whose room is bob's; only he has power there.
func roomOfBobs(w *world) *stage {
	w.t.Helper()
	s := &stage{world: w, bob: w.far.Register("bob", "Bob Builder")}
	s.people = map[string]rctest.Person{"alice": w.rc.CreateUser("alice", "user", "bot")} // bot: no rate limit
	s.puppet = ids.PuppetUsername(ids.MXUser(s.bob.ID), false)
	s.mxRoom = s.bob.CreateRoom("Garden Party", false, w.alice())
	s.hint(s.mxRoom, w.alice(), s.bob.ID)
	s.waitForGhost(s.bob, s.mxRoom, w.alice())
	mxtest.WaitFor(w.t, "the room in Rocket.Chat", func() bool { s.room = w.roomNamed("Garden-Party"); return s.room != "" })
	s.waitForPuppet(s.room, s.puppet)
	s.warmUp(s.bob, s.mxRoom, s.room)
	return s
}

// What Rocket.Chat lets a room's owner do but the room on Matrix does not is undone,
// and the owner is told.
func TestWhatARoomOfMatrixDoesNotAllow(t *testing.T) {
	t.Parallel()
	s := roomOfBobs(newWorld(t, &rctest.Server{Polite: true}))
	alice := s.people["alice"]
	powers := s.state("m.room.power_levels")
	for _, what := range []string{"invite", "kick", "ban", "redact", "state_default"} {
		powers[what] = 50
	}
	s.setState("m.room.power_levels", powers)
	s.bob.Send(s.mxRoom, "nobody but me decides here")
	s.messageText("nobody but me decides here")

	s.rc.Rename(s.room, "alice", "my-party")
	s.told("alice", "was not made on Matrix: the room there does not allow it.")
	s.rc.Kick(s.room, "alice", s.puppet)
	s.told("alice", s.bob.ID+" is back in the room: the room on Matrix does not allow you to remove people.")
	s.waitForPuppet(s.room, s.puppet)
	s.api("alice", "groups.addModerator", map[string]any{"roomId": s.room, "userId": s.rc.User(s.puppet)["_id"]})
	s.told("alice", "was changed back: the room on Matrix does not allow you to change it.")
	mxtest.WaitFor(t, "bob to be the owner that he is on Matrix", func() bool { return slices.Contains(s.roles(s.puppet), "owner") })
	s.api("alice", "chat.pinMessage", map[string]any{"messageId": s.rc.Say(s.room, "alice", "pin this")})
	dave := s.far.Register("dave", "Dave")
	for command, want := range map[string]string{
		"invite " + dave.ID: "cannot be invited: the room or their server does not allow it",
		"kick " + s.bob.ID:  "lacks the power level to remove",
	} {
		if status, body := s.command(alice, s.room, "bridge", command); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("/bridge %s: %d %s, want %q", command, status, body, want)
		}
	}
	s.must(alice, s.room, "bridge", "invite "+s.bob.ID) // he is there already
	s.rc.Say(s.room, "alice", "your party then")
	s.findText("your party then")
	if name, pins := s.state("m.room.name")["name"], s.state("m.room.pinned_events")["pinned"]; name != "Garden Party" || pins != nil {
		t.Errorf("on Matrix the room is called %v and has the pins %v", name, pins)
	}
	s.setState("m.room.encryption", map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})
	s.message("a word in Rocket.Chat", func(m rctest.Message) bool { return strings.Contains(m.Text, "cannot read encrypted messages") })
}

// Commands that make no sense where they are typed are refused with the reason.
func TestCommandsInRoomsTheyDoNotFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	w.rc.CreateUser("eve")
	plain, room := w.rc.CreateRoom("p", "plain", "alice"), w.rc.CreateRoom("p", "plans", "alice")
	bob := w.far.Register("bob", "Bob Builder")
	w.must(alice, room, "bridge", "invite "+bob.ID)
	refused := func(room, name, params, want string) {
		t.Helper()
		if status, body := w.command(alice, room, name, params); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("/%s %s: %d %s, want %q", name, params, status, body, want)
		}
	}
	refused(plain, "bridge", "status", "this room is not connected with Matrix")
	refused(plain, "bridge", "kick "+bob.ID, "this room is not connected with Matrix")
	refused(room, "bridge", "history 10", "already connected with Matrix")
	refused(room, "bridge", "whois @nobody:"+w.far.Name, "is not in any room here")

	answers := func(params, want string) string {
		t.Helper()
		w.must(alice, room, "bridge", params)
		return w.told("alice", want)
	}
	answers("whois "+w.alice(), "(@alice) of this Rocket.Chat.")
	answers("whois eve", "@eve is @eve:"+w.home.Name+" for everybody on Matrix.")
	// Dendrite lists an invitation a moment after it has accepted it.
	status := ""
	mxtest.WaitFor(t, "the status to name the invitation", func() bool {
		status = answers("status", "This room has been connected")
		return strings.Contains(status, "Invited, but not here yet: "+bob.ID)
	})
	if !strings.Contains(status, "Nobody from Matrix is here now.") {
		t.Errorf("status = %s", status)
	}
	w.configure("enabled: false\n")
	answers("status", "The administrator has paused the bridge")
	w.configure("servers: {deny: [\"" + w.far.Name + "\"]}\n")
	refused(room, "federation", "rooms "+w.far.Name, "does not allow conversations with "+w.far.Name)
	refused(room, "federation", "join #club:"+w.far.Name, "does not allow conversations with "+w.far.Name)
	refused(room, "federation", "dm "+bob.ID, "does not allow conversations with "+w.far.Name)
}

// Rooms that cannot be joined, or that the bridge cannot read, are refused with the
// reason, and nobody stays in them.
func TestRoomsThatCannotBeJoined(t *testing.T) {
	t.Parallel()
	w := gatedWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	lobby := w.rc.CreateRoom("p", "lobby", "alice")
	bob := w.far.Register("bob", "Bob Builder")
	create := func(preset, alias string, state ...any) string {
		t.Helper()
		var made struct {
			Room string `json:"room_id"`
		}
		bob.Must(http.MethodPost, "/_matrix/client/v3/createRoom", map[string]any{"preset": preset, "room_alias_name": alias, "name": alias, "initial_state": state}, &made)
		return made.Room
	}
	create("private_chat", "closed")
	secret := create("public_chat", "secret", map[string]any{"type": "m.room.encryption", "state_key": "", "content": map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}})
	open := create("public_chat", "open")
	refused := func(params, want string) {
		t.Helper()
		if status, body := w.command(alice, lobby, "federation", params); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("/federation %s: %d %s, want %q", params, status, body, want)
		}
	}
	refused("join #closed:"+w.far.Name, "does not let you in")
	refused("join #secret:"+w.far.Name, "is encrypted, and the bridge cannot read it")
	mxtest.WaitFor(t, "alice to have left the encrypted room", func() bool { return bob.Members(secret)[w.alice()] == "leave" })
	w.gate.refuse(1, http.MethodPost, "/join/", http.StatusBadGateway, "M_UNKNOWN")
	refused("join #open:"+w.far.Name, "its server does not answer")
	if bob.Members(open)[w.alice()] == "join" {
		t.Error("alice is in the room")
	}
	w.gate.refuse(1, http.MethodPost, "/publicRooms", http.StatusForbidden, "M_FORBIDDEN")
	refused("rooms "+w.far.Name, "does not show its rooms")
	w.must(alice, lobby, "federation", "join #open:"+w.far.Name)
	w.told("alice", "You have joined #open:"+w.far.Name)
}

// A person who cannot be invited leaves no trace; a person with whom there is a direct
// room is invited to that one.
func TestDirectMessagesByCommand(t *testing.T) {
	t.Parallel()
	w := gatedWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	lobby := w.rc.CreateRoom("p", "lobby", "alice")
	bob := w.far.Register("bob", "Bob Builder")
	w.gate.refuse(1, http.MethodPost, "/invite", http.StatusForbidden, "M_FORBIDDEN")
	if status, body := w.command(alice, lobby, "federation", "dm "+bob.ID); status != http.StatusBadRequest || !strings.Contains(body, "cannot be invited") {
		t.Errorf("/federation dm: %d %s", status, body)
	}
	if rooms := w.joinedRooms(w.alice()); len(rooms) != 0 {
		t.Errorf("alice is still in %q", rooms)
	}
	if who := w.rc.User(ids.PuppetUsername(ids.MXUser(bob.ID), false)); who != nil {
		t.Errorf("bob has the account %v although nobody could invite him", who)
	}
	w.must(alice, lobby, "federation", "dm "+bob.ID)
	mxRoom, _ := bob.AcceptInvitation()
	dm := w.directWith("alice", "bob_localhost")
	w.warmUp(bob, mxRoom, dm)
	w.must(alice, lobby, "federation", "dm "+bob.ID)
	if rooms := w.joinedRooms(w.alice()); !slices.Equal(rooms, []string{mxRoom}) {
		t.Errorf("alice is in %q, want %s alone", rooms, mxRoom)
	}
}
