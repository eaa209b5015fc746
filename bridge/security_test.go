package bridge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/store"
)

// A person who takes the name and the nickname that the account of a Matrix user will
// have must not become that account, not even with the role that the bridge's
// accounts have.
func TestAttackTakingOverAPuppetBeforeItExists(t *testing.T) {
	t.Parallel()
	for _, roles := range [][]string{{"user"}, {"user", "bot"}} {
		t.Run(fmt.Sprint(roles), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, &rctest.Server{Polite: true})
			alice, mallory := w.rc.CreateUser("alice"), w.rc.CreateUser("mallory", roles...)
			bob := w.far.Register("bob", "Bob Builder")
			username := ids.PuppetUsername(ids.MXUser(bob.ID), false)
			w.call(mallory, http.MethodPost, "users.updateOwnBasicInfo", map[string]any{"data": map[string]any{"username": username, "nickname": bob.ID}}, nil)
			w.must(alice, w.rc.CreateRoom("p", "plans", "alice"), "federation", "dm "+bob.ID)
			mxRoom, _ := bob.AcceptInvitation()
			bob.Send(mxRoom, "for alice alone")
			dm := w.directWith("alice", "bob_")
			if members := w.rc.Members(dm); slices.Contains(members, username) {
				t.Fatalf("%s of mallory reads what bob writes to alice: the room has %q", username, members)
			}
			w.rc.WaitFor(t, dm, "for alice alone")
			var rooms struct {
				Update []struct {
					ID string `json:"_id"`
				} `json:"update"`
			}
			w.call(mallory, http.MethodGet, "rooms.get", nil, &rooms)
			for _, r := range rooms.Update {
				if r.ID == dm {
					t.Error("mallory is in the direct room of bob and alice")
				}
			}
		})
	}
}

// An account whose creation got no response is found again, because it carries what
// only the bridge knows.
func TestAPuppetWhoseCreationWasNotAnsweredIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob := w.far.Register("bob", "Bob Builder")
	w.rc.LoseNext("POST /api/v1/users.create")
	room := bob.CreateRoom("", true, w.alice())
	w.hint(room, w.alice(), bob.ID)
	mxtest.WaitFor(t, "alice to join", func() bool { return bob.Members(room)[w.alice()] == "join" })
	dm := w.directWith("alice", "bob_")
	if got, want := w.puppetOf(dm, "alice"), ids.PuppetUsername(ids.MXUser(bob.ID), false); got != want {
		t.Errorf("bob speaks as %s, want %s", got, want)
	}
}

// Accounts that an earlier release took over are reported.
func TestAnAccountThatIsNoBotIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob := w.far.Register("bob", "Bob Builder")
	w.must(alice, w.rc.CreateRoom("p", "plans", "alice"), "federation", "dm "+bob.ID)
	bob.AcceptInvitation()
	puppet := w.puppetOf(w.directWith("alice", "bob_"), "alice")
	if doubtful := w.status().Doubtful; len(doubtful) != 0 {
		t.Errorf("reported: %q", doubtful)
	}
	w.call(w.rc.Admin(), http.MethodPost, "roles.removeUserFromRole", map[string]any{"roleId": "bot", "username": puppet}, nil)
	w.compareOften()
	mxtest.WaitFor(t, "the account to be reported", func() bool { return slices.Equal(w.status().Doubtful, []string{bob.ID}) })
}

type bridgeStatus struct {
	Doubtful []string `json:"doubtful_puppets"`
	Waiting  int      `json:"waiting"`
	Problem  string   `json:"rocketchat_problem"`
}

func (w *world) status() (s bridgeStatus) {
	w.t.Helper()
	res := w.operator(http.MethodGet, "/status", "")
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// rawHint sends what anybody can send to the mirrored address.
func (w *world) rawHint(body string) int {
	w.t.Helper()
	req, _ := http.NewRequest(http.MethodPut, w.url+"/hint/invite", strings.NewReader(body))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0 // refused in the middle of the body
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

func inviteOf(ghost string) string {
	return fmt.Sprintf(`{"type":"m.room.member","room_id":"!r:far","state_key":%q,"sender":"@m:far","content":{"membership":"invite"}}`, ghost)
}

// Anybody can send hints: they must use no disk, little memory and little log.
func TestAttackHintsWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	before := len(w.log.String())
	huge := "@" + strings.Repeat("a", 1<<20) + ":" + w.home.Name
	for range 30 {
		w.rawHint(inviteOf(huge))
	}
	long := "@" + strings.Repeat("b", 300) + ":" + w.home.Name
	w.rawHint(inviteOf(long))
	for n := range 2000 {
		if status := w.rawHint(inviteOf(fmt.Sprintf("@nobody%d:%s", n, w.home.Name))); status != http.StatusOK {
			t.Fatalf("hint %d: status %d", n, status)
		}
	}
	if waiting := w.status().Waiting; waiting != 0 {
		t.Errorf("%d anonymous hints were stored", waiting)
	}
	for _, line := range strings.Split(w.log.String()[before:], "\n") {
		if len(line) > 2000 {
			t.Errorf("a line of %d bytes was logged: %.100s…", len(line), line)
		}
	}
	if info, err := os.Stat(w.dir + "/bridge.db"); err != nil || info.Size() > 1<<20 {
		t.Errorf("the database has %d bytes, %v", info.Size(), err)
	}
	// A person who is invited meanwhile is still found.
	w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob := w.far.Register("bob", "Bob Builder")
	room := bob.CreateRoom("plans", false, w.alice())
	w.hint(room, w.alice(), bob.ID)
	mxtest.WaitFor(t, "alice to join", func() bool { return bob.Members(room)[w.alice()] == "join" })
}

// People without power cannot let anybody into a private room, and invited people
// cannot read earlier messages.
func TestAttackInvitationsByThePowerless(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("eve")
	carol := s.far.Register("carol", "Carol")
	s.rc.Say(s.room, "alice", "the door code is 4711")
	s.findText("the door code is 4711")
	for _, target := range []string{"@eve:" + s.home.Name, carol.ID} {
		status, err := s.bob.Call(t.Context(), http.MethodPost, "/_matrix/client/v3/rooms/"+s.mxRoom+"/invite", map[string]any{"user_id": target}, nil)
		if status != http.StatusForbidden {
			t.Errorf("bob, who has no power, invites %s: %d, %v", target, status, err)
		}
	}
	s.must(s.rc.Login("alice"), s.room, "bridge", "invite "+carol.ID)
	carol.AcceptInvitation()
	s.rc.Say(s.room, "alice", "welcome")
	mxtest.WaitFor(t, "carol to read the welcome", func() bool { return slices.Contains(saidOnMatrix(carol, s.mxRoom), s.alice()+": welcome") })
	for _, said := range saidOnMatrix(carol, s.mxRoom) {
		if strings.Contains(said, "4711") {
			t.Errorf("carol reads what was said before her invitation: %s", said)
		}
	}
	if slices.Contains(s.rc.Members(s.room), "eve") {
		t.Error("eve was let into the private group")
	}
}

// A member without a role may invite where Rocket.Chat lets members do so.
func TestMembersInviteWhereTheWorkspaceLetsThem(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.call(s.rc.Admin(), http.MethodPost, "permissions.update", map[string]any{"permissions": []map[string]any{
		{"_id": "add-user-to-joined-room", "roles": []string{"admin", "owner", "moderator", "user"}},
	}}, nil)
	s.stop()
	s.startBridge() // permissions are cached for a while
	dave := s.rc.CreateUser("dave")
	s.rc.Invite(s.room, "alice", "dave")
	carol := s.far.Register("carol", "Carol")
	s.must(dave, s.room, "bridge", "invite "+carol.ID)
	carol.AcceptInvitation()
	s.waitForPuppet(s.room, ids.PuppetUsername(ids.MXUser(carol.ID), false))
}

// The operator's permissions apply to invitations made on Matrix, too.
func TestPermissionsHoldForInvitationsMadeOnMatrix(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("eve")
	s.rc.CreateUser("finn")
	s.call(s.rc.Login("alice"), http.MethodPost, "groups.addModerator", map[string]any{"roomId": s.room, "userId": s.rc.User(s.puppet)["_id"]}, nil)
	mxtest.WaitFor(t, "bob to have power", func() bool { return s.power(s.bob.ID) >= 50 })
	eve, finn := "@eve:"+s.home.Name, "@finn:"+s.home.Name
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+s.mxRoom+"/invite", map[string]any{"user_id": eve}, nil)
	s.hint(s.mxRoom, eve, s.bob.ID)
	mxtest.WaitFor(t, "eve to be let in by a moderator", func() bool { return slices.Contains(s.rc.Members(s.room), "eve") })
	s.configure("permissions: {invite: [owner]}\n")
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+s.mxRoom+"/invite", map[string]any{"user_id": finn}, nil)
	s.hint(s.mxRoom, finn, s.bob.ID)
	mxtest.WaitFor(t, "finn's invitation to be declined", func() bool { return s.bob.Members(s.mxRoom)[finn] == "leave" })
	if slices.Contains(s.rc.Members(s.room), "finn") {
		t.Error("finn was let in although only owners may invite")
	}
}

// forget stops the bridge and removes a note from its database.
func (w *world) forget(note string) {
	w.t.Helper()
	w.stop()
	st, err := store.Open(w.t.Context(), "sqlite:"+w.dir+"/bridge.db")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(st.MoveCursor(w.t.Context(), note, ""), st.Close()); err != nil {
		w.t.Fatal(err)
	}
}

// Rooms that an earlier release created are closed as new ones are.
func TestRoomsOfEarlierReleasesAreTightened(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	bot := "@rocket.cat:" + s.home.Name
	levels := s.state("m.room.power_levels")
	levels["invite"] = 0
	s.asServiceDo(http.MethodPut, bot, "/rooms/"+s.mxRoom+"/state/m.room.power_levels", levels)
	s.asServiceDo(http.MethodPut, bot, "/rooms/"+s.mxRoom+"/state/m.room.history_visibility", map[string]any{"history_visibility": "shared"})
	s.forget("tightened " + s.mxRoom)
	s.compareOften()
	s.waitForState("m.room.power_levels", "that inviting needs power", func(c map[string]any) bool { return c["invite"] == 50.0 })
	s.waitForState("m.room.history_visibility", "that the past is hidden", func(c map[string]any) bool { return c["history_visibility"] == "invited" })
}

// The bridge fetches files with its own rights: it must not carry one that the author of
// a message merely names.
func TestAttackFilesOfOtherRooms(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	mallory := s.rc.CreateUser("mallory")
	s.rc.Invite(s.room, "alice", "mallory")
	secrets := s.rc.CreateRoom("p", "secrets", "alice")
	carol := s.far.Register("carol", "Carol")
	s.must(s.rc.Login("alice"), secrets, "bridge", "invite "+carol.ID) // the bridge is in this room, too
	mxSecrets, _ := carol.AcceptInvitation()
	id := s.rc.Upload(secrets, "alice", "salaries.txt", "text/plain", []byte("alice 100, bob 90"), "")
	mxtest.WaitFor(t, "the file for carol", func() bool { return len(filesOnMatrix(carol, mxSecrets)) == 1 })
	var link string
	for _, m := range s.rc.Said(secrets) {
		if m.ID == id {
			link = fmt.Sprint(m.Attachments[0]["title_link"])
		}
	}
	for n, forged := range []string{link, strings.Replace(link, "/file-upload/", "/file-upload/x/../", 1), link + "?x=..%2f", "/file-upload/..%2f..%2fapi/v1/me"} {
		for _, field := range []string{"title_link", "image_url"} {
			s.call(mallory, http.MethodPost, "chat.sendMessage", map[string]any{"message": map[string]any{
				"rid": s.room, "msg": fmt.Sprint("look ", n, " ", field), "attachments": []map[string]any{{"title": "salaries.txt", "title_link": link, field: forged}},
			}}, nil)
		}
	}
	s.rc.Say(s.room, "mallory", "that is all")
	s.findText("that is all")
	if got := filesOnMatrix(s.bob, s.mxRoom); len(got) != 0 {
		t.Errorf("mallory got files of a room she is not in: %v", got)
	}
}

// Rocket.Chat's method sendFileMessage puts any upload that its caller names into a message: one
// of another room does not cross, whether it would have to be fetched or was copied before.
func TestAttackTheUploadOfAnotherRoom(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	mallory := s.rc.CreateUser("mallory")
	s.rc.Invite(s.room, "alice", "mallory")
	secrets := s.rc.CreateRoom("p", "secrets", "alice")
	carol := s.far.Register("carol", "Carol")
	s.must(s.rc.Login("alice"), secrets, "bridge", "invite "+carol.ID)
	mxSecrets, _ := carol.AcceptInvitation()
	s.rc.Upload(secrets, "alice", "salaries.txt", "text/plain", []byte("alice 100, bob 90"), "")
	mxtest.WaitFor(t, "the file for carol", func() bool { return len(filesOnMatrix(carol, mxSecrets)) == 1 })
	unbridged := s.rc.CreateRoom("p", "unbridged", "alice", "rocket.cat")
	s.rc.Upload(unbridged, "alice", "bonus.txt", "text/plain", []byte("alice 10"), "")
	for name, room := range map[string]string{"salaries.txt": secrets, "bonus.txt": unbridged} {
		said := s.rc.Said(room)
		file := map[string]any{"_id": said[len(said)-1].File.ID, "name": name, "type": "text/plain", "size": 17}
		call, _ := json.Marshal(map[string]any{"msg": "method", "id": "1", "method": "sendFileMessage", "params": []any{s.room, "GridFS", file}})
		s.call(mallory, http.MethodPost, "method.call/sendFileMessage", map[string]any{"message": string(call)}, nil)
	}
	s.rc.Upload(s.room, "mallory", "mine.txt", "text/plain", []byte("mine"), "")
	s.rc.Say(s.room, "mallory", "that is all")
	s.findText("that is all")
	if got := filesOnMatrix(s.bob, s.mxRoom); len(got) != 1 {
		t.Fatalf("mallory got files of rooms she is not in: %v", got)
	}
	for _, name := range []string{"salaries.txt", "bonus.txt"} {
		s.find("a line in the place of "+name, func(_ string, c map[string]any) bool {
			body := fmt.Sprint(c["body"])
			return strings.Contains(body, name) && strings.Contains(body, "belongs to another room")
		})
	}
}

// filesOnMatrix returns the addresses of the files in a room.
func filesOnMatrix(p *mxtest.Person, room string) (urls []string) {
	for _, e := range p.Events(room) {
		if c, _ := e["content"].(map[string]any); c["url"] != nil && e["type"] == "m.room.message" {
			urls = append(urls, fmt.Sprint(c["url"]))
		}
	}
	return urls
}

// One person on Matrix cannot fill a user's Rocket.Chat with rooms, nor the workspace
// with accounts.
func TestAttackInvitationsWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	w.configure("flood: {invitations_per_person: 3, invitations_per_server: 5, accounts_per_server: 2}\n")
	bob := w.far.Register("bob", "Bob Builder")
	var rooms []string
	for n := range 6 {
		room := bob.CreateRoom(fmt.Sprint("room ", n), false, w.alice())
		w.hint(room, w.alice(), bob.ID)
		rooms = append(rooms, room)
	}
	count := func(membership string) (n int) {
		for _, room := range rooms {
			if bob.Members(room)[w.alice()] == membership {
				n++
			}
		}
		return n
	}
	mxtest.WaitFor(t, "the rest to be declined", func() bool { return count("leave") == 3 })
	if n := count("join"); n != 3 {
		t.Errorf("alice is in %d rooms, want 3", n)
	}
	carol, dave := w.far.Register("carol", "Carol"), w.far.Register("dave", "Dave")
	for _, p := range []*mxtest.Person{carol, dave} {
		room := p.CreateRoom("plans of "+p.ID, false, w.alice())
		w.hint(room, w.alice(), p.ID)
		w.waitForGhost(p, room, w.alice())
		p.Send(room, "hello from "+p.ID)
		if p == dave {
			noticed(t, dave, room, "too many new people")
		}
	}
	if _, exists := w.rc.User(ids.PuppetUsername(ids.MXUser(dave.ID), false))["_id"]; exists {
		t.Error("dave got the third account of a server that has two a day")
	}
	erin := w.far.Register("erin", "Erin") // her first invitation, but her server has used up its five
	room := erin.CreateRoom("plans of erin", false, w.alice())
	w.hint(room, w.alice(), erin.ID)
	mxtest.WaitFor(t, "erin's invitation to be declined", func() bool { return erin.Members(room)[w.alice()] == "leave" })
}
