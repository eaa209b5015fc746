package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestFeatureRoomsFromMatrixAsTheyAre: a room that was created on Matrix has its
// topic, its picture and its people's roles in Rocket.Chat from the beginning.
func TestFeatureRoomsFromMatrixAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot")
	s := &stage{world: w, bob: w.far.Register("bob", "Bob Builder")}
	s.mxRoom = s.bob.CreateRoom("Garden Party", false)
	s.setState("m.room.topic", map[string]any{"topic": "bring cake"})
	s.setState("m.room.avatar", map[string]any{"url": s.upload("a.png", "image/png", picture(20, 20))})
	powers := s.state("m.room.power_levels")
	powers["events_default"] = 50
	s.setState("m.room.power_levels", powers)
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/invite", map[string]any{"user_id": s.alice()}, nil)
	s.hint(s.mxRoom, s.alice(), s.bob.ID)
	mxtest.WaitFor(t, "the room in Rocket.Chat", func() bool { s.room = s.roomNamed("Garden-Party"); return s.room != "" })
	s.join()
	mxtest.WaitFor(t, "the topic", func() bool { return s.rc.Room(s.room)["topic"] == "bring cake" })
	mxtest.WaitFor(t, "bob to be an owner", func() bool { return slices.Contains(s.roles(s.puppet), "owner") })
	mxtest.WaitFor(t, "the room to be read-only", func() bool { return s.rc.Room(s.room)["ro"] == true })
	mxtest.WaitFor(t, "the picture", func() bool { return s.rc.Room(s.room)["avatarETag"] != nil })
}

// TestFeatureSpaces: a space, which Rocket.Chat does not have, is refused with a reason.
func TestFeatureSpaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot")
	bob := w.far.Register("bob", "Bob Builder")
	var out struct {
		Room string `json:"room_id"`
	}
	bob.Must(http.MethodPost, "/_matrix/client/v3/createRoom", map[string]any{
		"name": "Our space", "preset": "public_chat", "room_alias_name": "ourspace", "invite": []string{w.alice()}, "creation_content": map[string]any{"type": "m.space"},
	}, &out)
	w.hint(out.Room, w.alice(), bob.ID)
	mxtest.WaitFor(t, "a reason", func() bool {
		for _, e := range bob.Events(out.Room) {
			if c, _ := e["content"].(map[string]any); e["state_key"] == w.alice() && c["membership"] == "leave" {
				return strings.Contains(fmt.Sprint(c["reason"]), "This is a space")
			}
		}
		return false
	})
	if status, body := w.command(alice, w.rc.CreateRoom("p", "plans", "alice"), "federation", "join #ourspace:"+w.far.Name); status == http.StatusOK || !strings.Contains(body, "space") {
		t.Errorf("%d %s", status, body)
	}
	for _, r := range w.rooms() {
		if strings.Contains(fmt.Sprint(r["name"]), "space") {
			t.Errorf("a room of the space: %v", r)
		}
	}
}

// TestFeaturePins: what is pinned on one side is pinned on the other.
func TestFeaturePins(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.promote()
	pinned := func() string { return fmt.Sprint(s.state("m.room.pinned_events")["pinned"]) }
	isPinned := func(text string) func() bool {
		return func() bool {
			return s.messageText(text).Raw["pinned"] == true
		}
	}
	id := s.rc.Say(s.room, "alice", "pinned here")
	event, _ := s.findText("pinned here")
	s.api("alice", "chat.pinMessage", map[string]any{"messageId": id})
	mxtest.WaitFor(t, "the pin on Matrix", func() bool { return pinned() == "["+event+"]" })
	mine := s.bob.Send(s.mxRoom, "pinned there")
	s.messageText("pinned there")
	s.setState("m.room.pinned_events", map[string]any{"pinned": []string{event, mine}})
	mxtest.WaitFor(t, "the pin in Rocket.Chat", isPinned("pinned there"))
	s.setState("m.room.pinned_events", map[string]any{"pinned": []string{mine}})
	mxtest.WaitFor(t, "the first one to be taken off", func() bool { return !isPinned("pinned here")() })
	s.api("alice", "chat.unPinMessage", map[string]any{"messageId": s.messageText("pinned there").ID})
	mxtest.WaitFor(t, "no pin on Matrix", func() bool { return pinned() == "[]" })
}

// TestFeatureCallsOnMatrix: a message says that a call was started on Matrix, once
// for each.
func TestFeatureCallsOnMatrix(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.promote()
	const word = "_started a call on Matrix, which cannot be joined from Rocket.Chat_"
	words := func() (n int) {
		for _, m := range s.rc.Said(s.room) {
			if m.User.Username == s.puppet && m.Text == word {
				n++
			}
		}
		return n
	}
	s.bob.SendEvent(s.mxRoom, "m.call.invite", map[string]any{"call_id": "c1", "party_id": "p", "version": "1", "lifetime": 60000, "offer": map[string]any{"type": "offer", "sdp": "x"}})
	mxtest.WaitFor(t, "a word of the first call", func() bool { return words() == 1 })
	member := func(content map[string]any) {
		s.bob.Must(http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/state/org.matrix.msc3401.call.member/"+url.PathEscape(s.bob.ID), content, nil)
	}
	member(map[string]any{"application": "m.call", "call_id": "", "device_id": "D", "expires": 14400000})
	mxtest.WaitFor(t, "a word of the second call", func() bool { return words() == 2 })
	member(map[string]any{"application": "m.call", "call_id": "", "device_id": "D", "expires": 28800000})
	member(map[string]any{})
	s.bob.Send(s.mxRoom, "that was short")
	s.messageText("that was short")
	if words() != 2 {
		t.Errorf("%d words of two calls", words())
	}
}

// TestFeatureEncryptedInRocketChat: both sides are told once that what people
// encrypt in Rocket.Chat does not cross.
func TestFeatureEncryptedInRocketChat(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const sentence = "read encrypted messages in this room of Rocket.Chat"
	secret := func(n int) {
		s.api("alice", "chat.sendMessage", map[string]any{"message": map[string]any{"_id": fmt.Sprint("secret", n), "rid": s.room, "msg": "", "t": "e2e",
			"content": map[string]any{"algorithm": "rc.v1.aes-sha2", "ciphertext": "aGVsbG8="}}})
	}
	onMatrix := func() (n int) {
		for _, e := range s.bob.Events(s.mxRoom) {
			if c, _ := e["content"].(map[string]any); c["msgtype"] == "m.notice" && strings.Contains(fmt.Sprint(c["body"]), sentence) {
				n++
			}
		}
		return n
	}
	inRocketChat := func() (n int) {
		for _, m := range s.rc.Messages(s.room) {
			if strings.Contains(m.Text, sentence) {
				n++
			}
		}
		return n
	}
	secret(1)
	mxtest.WaitFor(t, "a word on Matrix", func() bool { return onMatrix() == 1 })
	mxtest.WaitFor(t, "a word in Rocket.Chat", func() bool { return inRocketChat() == 1 })
	secret(2)
	s.rc.Say(s.room, "alice", "in the clear")
	s.findText("in the clear")
	if onMatrix() != 1 || inRocketChat() != 1 {
		t.Errorf("said %d times on Matrix and %d times in Rocket.Chat", onMatrix(), inRocketChat())
	}
}

// TestFeaturePublicChannels: a public channel is connected like a private one, and a
// person who is unbanned may come back.
func TestFeaturePublicChannels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice", "user", "bot")
	s := &stage{world: w, bob: w.far.Register("bob", "Bob Builder")}
	s.room = w.rc.CreateRoom("c", "square", "alice")
	s.must(alice, s.room, "bridge", "invite "+s.bob.ID)
	s.mxRoom, _ = s.bob.AcceptInvitation()
	s.join()
	s.warmUp(s.bob, s.mxRoom, s.room)
	s.bob.Send(s.mxRoom, "hello square")
	s.messageText("hello square")

	ban := func(verb string) {
		s.api("alice", "rooms."+verb, map[string]any{"roomId": s.room, "username": s.puppet})
	}
	in := func() bool {
		var out struct {
			Rooms []string `json:"joined_rooms"`
		}
		s.bob.Must(http.MethodGet, "/_matrix/client/v3/joined_rooms", nil, &out)
		return slices.Contains(out.Rooms, s.mxRoom)
	}
	invite := func() error {
		_, err := s.home.As("as-token-for-tests").Call(context.Background(), http.MethodPost,
			"/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/invite?user_id="+url.QueryEscape(s.alice()), map[string]any{"user_id": s.bob.ID}, nil)
		return err
	}
	if !w.rc.Expect().Bans {
		return
	}
	ban("banUser")
	mxtest.WaitFor(t, "bob to be banned", func() bool { return !in() })
	if invite() == nil {
		t.Error("a person who is banned can be invited")
	}
	ban("unbanUser")
	mxtest.WaitFor(t, "bob to be let out of the ban", func() bool { return invite() == nil })
	s.bob.AcceptInvitation()
	mxtest.WaitFor(t, "bob to be back in Rocket.Chat", func() bool { return slices.Contains(s.rc.Members(s.room), s.puppet) })
	s.bob.Send(s.mxRoom, "I am back")
	s.messageText("I am back")
}
