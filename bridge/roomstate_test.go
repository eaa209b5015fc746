package bridge_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/color"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// api calls Rocket.Chat as a user.
func (s *stage) api(as, path string, body map[string]any) {
	s.t.Helper()
	data, _ := json.Marshal(body)
	p := s.rc.Login(as)
	req, _ := http.NewRequest(http.MethodPost, s.rc.URL+"/api/v1/"+path, bytes.NewReader(data))
	req.Header.Set("Content-Type", "application/json")
	rctest.Sign(req, p)
	if status, answer := s.fetch(req); status != http.StatusOK {
		s.t.Fatalf("POST %s: %d %s", path, status, answer)
	}
}

// state returns a piece of a room's state as bob sees it, or nil if it is not set.
func (s *stage) state(kind string) map[string]any {
	var out map[string]any
	_, _ = s.bob.Call(s.t.Context(), http.MethodGet, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/state/"+kind+"/", nil, &out)
	return out
}

func (s *stage) setState(kind string, content map[string]any) {
	s.t.Helper()
	s.bob.Must(http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/state/"+kind+"/", content, nil)
}

func (s *stage) waitForState(kind, what string, fits func(content map[string]any) bool) {
	s.t.Helper()
	mxtest.WaitFor(s.t, what, func() bool { return fits(s.state(kind)) })
}

func (s *stage) power(user string) float64 {
	users, _ := s.state("m.room.power_levels")["users"].(map[string]any)
	n, _ := users[user].(float64)
	return n
}

// promote gives bob power on Matrix, through a role in Rocket.Chat.
func (s *stage) promote() {
	s.t.Helper()
	s.api("alice", "groups.addOwner", map[string]any{"roomId": s.room, "userId": s.rc.User(s.puppet)["_id"]})
	mxtest.WaitFor(s.t, "bob to have power", func() bool { return s.power(s.bob.ID) == 90 })
}

func TestFeatureRoomNameAndTopic(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.SetTopic(s.room, "alice", "where to go")
	s.waitForState("m.room.topic", "the topic", func(c map[string]any) bool { return c["topic"] == "where to go" })
	s.rc.Rename(s.room, "alice", "journeys")
	s.waitForState("m.room.name", "the name", func(c map[string]any) bool { return c["name"] == "journeys" })
	s.api("alice", "groups.setAnnouncement", map[string]any{"roomId": s.room, "announcement": "we leave at *nine*"})
	_, c := s.find("the announcement", func(_ string, c map[string]any) bool { return c["msgtype"] == "m.notice" })
	if !strings.HasPrefix(fmt.Sprint(c["body"]), "📢 we leave at") {
		t.Errorf("announcement = %v", c)
	}
	s.promote()
	s.setState("m.room.name", map[string]any{"name": "Voyages & plans"})
	s.setState("m.room.topic", map[string]any{"topic": "when to go"})
	mxtest.WaitFor(t, "name and topic in Rocket.Chat", func() bool {
		room := s.rc.Room(s.room)
		return room["topic"] == "when to go" && room["name"] == "Voyages-plans"
	})
	s.setState("m.room.avatar", map[string]any{"url": s.upload("a.png", "image/png", picture(20, 20))})
	mxtest.WaitFor(t, "the avatar in Rocket.Chat", func() bool { return s.rc.Room(s.room)["avatarETag"] != nil })
	blue := color.RGBA{B: 200, A: 255}
	s.api("alice", "rooms.saveRoomSettings", map[string]any{"rid": s.room, "roomAvatar": "data:image/png;base64," + base64.StdEncoding.EncodeToString(portrait(blue))})
	s.waitForState("m.room.avatar", "the avatar on Matrix", func(c map[string]any) bool {
		uri, _ := c["url"].(string)
		return strings.HasPrefix(uri, "mxc://"+s.home.Name) && looks(s.download(uri), blue)
	})
	s.rc.Say(s.room, "alice", "still here")
	s.findText("still here")
	if c := s.state("m.room.name"); c["name"] != "Voyages & plans" {
		t.Errorf("name on Matrix = %v: the bridge's own change came back", c)
	}
}

func TestFeatureRolesAndPowers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if n := s.power(s.alice()); n != 90 {
		t.Errorf("the owner begins with %v", n)
	}
	s.promote()
	s.api("alice", "groups.removeOwner", map[string]any{"roomId": s.room, "userId": s.rc.User(s.puppet)["_id"]})
	mxtest.WaitFor(t, "bob's power to be taken", func() bool { return s.power(s.bob.ID) == 0 })
	s.promote()
	s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	mxtest.WaitFor(t, "carol to join on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "join" })
	powers := s.state("m.room.power_levels")
	users, _ := powers["users"].(map[string]any)
	users[carol] = 50
	s.setState("m.room.power_levels", powers)
	mxtest.WaitFor(t, "carol to be a moderator", func() bool { return slices.Contains(s.roles("carol"), "moderator") })
	users[carol] = 0
	s.setState("m.room.power_levels", powers)
	mxtest.WaitFor(t, "carol to be no moderator", func() bool { return !slices.Contains(s.roles("carol"), "moderator") })
	if !slices.Contains(s.roles("alice"), "owner") {
		t.Error("alice lost her role")
	}
}

func (s *stage) roles(username string) []string {
	s.t.Helper()
	p := s.rc.Login("alice")
	req, _ := http.NewRequest(http.MethodGet, s.rc.URL+"/api/v1/groups.roles?roomId="+s.room, nil)
	req.Header.Set("X-User-Id", p.ID)
	req.Header.Set("X-Auth-Token", p.Token)
	_, data := s.fetch(req)
	var out struct {
		Roles []struct {
			U     struct{ Username string }
			Roles []string
		}
	}
	if err := json.Unmarshal(data, &out); err != nil {
		s.t.Fatal(err)
	}
	for _, r := range out.Roles {
		if r.U.Username == username {
			return r.Roles
		}
	}
	return nil
}

func TestFeatureReadOnlyAndArchived(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	writers := func(n float64) func(map[string]any) bool {
		return func(c map[string]any) bool { v, _ := c["events_default"].(float64); return v == n }
	}
	s.api("alice", "groups.setReadOnly", map[string]any{"roomId": s.room, "readOnly": true})
	s.waitForState("m.room.power_levels", "the room to be read-only", writers(50))
	s.api("alice", "groups.setReadOnly", map[string]any{"roomId": s.room, "readOnly": false})
	s.waitForState("m.room.power_levels", "the room to be open", writers(0))
	s.promote()
	powers := s.state("m.room.power_levels")
	powers["events_default"] = 50
	s.setState("m.room.power_levels", powers)
	mxtest.WaitFor(t, "the room to be read-only in Rocket.Chat", func() bool { return s.rc.Room(s.room)["ro"] == true })
	powers["events_default"] = 0
	s.setState("m.room.power_levels", powers)
	mxtest.WaitFor(t, "the room to be open in Rocket.Chat", func() bool { return s.rc.Room(s.room)["ro"] != true })
	s.api("alice", "groups.archive", map[string]any{"roomId": s.room})
	s.waitForState("m.room.power_levels", "the room to be archived", writers(100))
}

func TestFeatureKicksAndBans(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	membership := func(user, want string) func() bool {
		return func() bool { return s.bob.Members(s.mxRoom)[user] == want }
	}
	mxtest.WaitFor(t, "carol to join on Matrix", membership(carol, "join"))
	s.promote()
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/kick", map[string]any{"user_id": carol}, nil)
	mxtest.WaitFor(t, "carol to be out of the room in Rocket.Chat", func() bool { return !slices.Contains(s.rc.Members(s.room), "carol") })
	s.rc.Invite(s.room, "alice", "carol")
	mxtest.WaitFor(t, "carol to be back on Matrix", membership(carol, "join"))
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/ban", map[string]any{"user_id": carol}, nil)
	mxtest.WaitFor(t, "carol to be out for good", func() bool { return !slices.Contains(s.rc.Members(s.room), "carol") })
	s.rc.Say(s.room, "alice", "after the ban")
	s.findText("after the ban")
	if strings.Contains(s.log.String(), `msg="gave up"`) {
		t.Error("a change of membership was given up")
	}

	s.api("alice", "groups.removeOwner", map[string]any{"roomId": s.room, "userId": s.rc.User(s.puppet)["_id"]})
	mxtest.WaitFor(t, "bob's power to be taken", func() bool { return s.power(s.bob.ID) == 0 })
	if !s.rc.Expect().Bans {
		return
	}
	s.api("alice", "rooms.banUser", map[string]any{"roomId": s.room, "username": s.puppet})
	mxtest.WaitFor(t, "bob to be banned", func() bool {
		var out struct {
			JoinedRooms []string `json:"joined_rooms"`
		}
		s.bob.Must(http.MethodGet, "/_matrix/client/v3/joined_rooms", nil, &out)
		return !slices.Contains(out.JoinedRooms, s.mxRoom)
	})
}

// A person who is removed on Matrix stays out, even if what they said in Rocket.Chat just
// before is still on its way: their ghost comes back to say it, and leaves again.
func TestFeatureKicksWhileSpeaking(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol", "user", "bot")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	mxtest.WaitFor(t, "carol to join on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "join" })
	s.promote()
	s.stop()
	s.rc.Say(s.room, "carol", "one more thing")
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/kick", map[string]any{"user_id": carol}, nil)
	// What she says before her own server knows of it would be hers no longer on the other one.
	mxtest.WaitFor(t, "our own server to know that carol is out", func() bool { return s.membershipHere(carol) == "leave" })
	s.startBridge()
	s.findText("one more thing")
	mxtest.WaitFor(t, "carol to be out of the room in Rocket.Chat", func() bool { return !slices.Contains(s.rc.Members(s.room), "carol") })
	mxtest.WaitFor(t, "carol to be out on Matrix too", func() bool { return s.bob.Members(s.mxRoom)[carol] == "leave" })
	s.rc.Say(s.room, "alice", "as I said")
	s.findText("as I said")
	if got := s.bob.Members(s.mxRoom)[carol]; got != "leave" {
		t.Errorf("carol's membership on Matrix is %q", got)
	}
}

// A text may have to be sent after its author was removed on Matrix and the members were
// compared: a message that was read late, or one that an owner edits.
func TestAnEditAfterTheAuthorWasRemoved(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol", "user", "bot")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	mxtest.WaitFor(t, "carol to join on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "join" })
	message := s.rc.Say(s.room, "carol", "the pass is open")
	s.findText("the pass is open")
	s.promote()
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/kick", map[string]any{"user_id": carol}, nil)
	mxtest.WaitFor(t, "carol to be out of the room in Rocket.Chat", func() bool { return !slices.Contains(s.rc.Members(s.room), "carol") })
	s.rc.Say(s.room, "alice", "where is carol?")
	s.findText("where is carol?") // and everything before it was delivered
	s.api("alice", "chat.update", map[string]any{"roomId": s.room, "msgId": message, "text": "the pass is closed"})
	s.find("the edit", func(_ string, content map[string]any) bool {
		c, _ := content["m.new_content"].(map[string]any)
		return c["body"] == "the pass is closed"
	})
	mxtest.WaitFor(t, "carol to be out on Matrix again", func() bool { return s.bob.Members(s.mxRoom)[carol] == "leave" })
}

func TestFeatureEncryptedRooms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob := w.far.Register("bob", "Bob Builder")
	var created struct {
		RoomID string `json:"room_id"`
	}
	bob.Must(http.MethodPost, "/_matrix/client/v3/createRoom", map[string]any{
		"preset": "trusted_private_chat", "is_direct": true, "invite": []string{w.alice()},
		"initial_state": []any{map[string]any{"type": "m.room.encryption", "state_key": "", "content": map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}}},
	}, &created)
	mxRoom := created.RoomID
	w.hint(mxRoom, w.alice(), bob.ID)
	const sentence = "cannot read encrypted messages"
	onMatrix := func() (n int) {
		for _, e := range bob.Events(mxRoom) {
			if c, _ := e["content"].(map[string]any); strings.Contains(fmt.Sprint(c["body"]), sentence) {
				n++
			}
		}
		return n
	}
	mxtest.WaitFor(t, "a word on Matrix", func() bool { return onMatrix() == 1 })
	dm := w.directWith("alice", "bob_localhost")
	inRocketChat := func() (n int) {
		for _, m := range w.rc.Messages(dm) {
			if strings.Contains(m.Text, sentence) {
				n++
			}
		}
		return n
	}
	mxtest.WaitFor(t, "a word in Rocket.Chat", func() bool { return inRocketChat() == 1 })
	bob.SendEvent(mxRoom, "m.room.encrypted", map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "y"})
	bob.Send(mxRoom, "in the clear")
	mxtest.WaitFor(t, "what is not encrypted", func() bool {
		return slices.ContainsFunc(w.rc.Said(dm), func(m rctest.Message) bool { return m.Text == "in the clear" })
	})
	if onMatrix() != 1 || inRocketChat() != 1 {
		t.Errorf("said %d times on Matrix and %d times in Rocket.Chat", onMatrix(), inRocketChat())
	}
}

func TestFeatureRoomUpgrades(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.promote()
	next := s.bob.CreateRoom("journeys, second part", false)
	s.bob.Must(http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(next)+"/state/m.room.join_rules/", map[string]any{"join_rule": "public"}, nil)
	s.setState("m.room.tombstone", map[string]any{"body": "moved", "replacement_room": next})
	mxtest.WaitFor(t, "alice to follow", func() bool { return s.bob.Members(next)[s.alice()] == "join" })
	s.rc.Say(s.room, "alice", "here we are")
	mxtest.WaitFor(t, "alice's word in the new room", func() bool { return slices.Contains(saidOnMatrix(s.bob, next), s.alice()+": here we are") })
	s.bob.Send(next, "so am I")
	s.messageText("so am I")
}
