package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

func (s *stage) bobSendsFile(name, mxc string, size int) string {
	s.t.Helper()
	return s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.file", "body": "about " + name, "filename": name, "url": mxc, "info": map[string]any{"mimetype": "application/pdf", "size": size},
	})
}

// A file that Rocket.Chat does not accept is replaced by a line that says why, on both sides.
func TestFilesThatRocketChatRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Set("FileUpload_MaxFileSize", 1000)
	refused := func(name, mxc string, size int, why string) {
		t.Helper()
		s.bobSendsFile(name, mxc, size)
		s.message(name, func(m rctest.Message) bool {
			return strings.HasPrefix(m.Text, "["+name+"]") && strings.Contains(m.Text, why)
		})
		s.messageText("about " + name)
		s.find("a word on Matrix", func(_ string, c map[string]any) bool {
			body := fmt.Sprint(c["body"])
			return c["msgtype"] == "m.notice" && strings.Contains(body, "the file \""+name+"\" was not carried to Rocket.Chat: ") && strings.Contains(body, why)
		})
	}
	refused("large.pdf", s.upload("large.pdf", "application/pdf", []byte("%PDF-1.4")), 5000, "Rocket.Chat accepts files of at most")
	refused("gone.pdf", "mxc://"+s.far.Name+"/nothing", 10, "its server does not have it")
}

// A file whose server does not answer is not refused: it follows when that server is back.
func TestAFileOfAServerThatIsAwayIsNotGivenUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.bobSendsFile("away.pdf", "mxc://127.0.0.1:1/away", 10)
	s.messageText("about away.pdf")
	for _, m := range s.rc.Said(s.room) {
		if strings.Contains(m.Text, "[away.pdf]") {
			t.Errorf("in place of the file: %q", m.Text)
		}
	}
}

// A puppet that Rocket.Chat does not accept as a member is let in and tries again: with
// a message, and with a file.
func TestAPuppetThatIsOutsideIsLetIn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.FailNext("POST /api/v1/rooms.media/"+s.room, http.StatusBadRequest, "error-not-allowed")
	s.bobSendsFile("plan.pdf", s.upload("plan.pdf", "application/pdf", []byte("%PDF-1.4")), 8)
	s.withFile("plan.pdf")
	s.rc.FailNext("POST /api/v1/chat.sendMessage", http.StatusBadRequest, "error-not-allowed")
	s.bob.Send(s.mxRoom, "let me in")
	s.messageText("let me in")
	for range 2 {
		s.rc.FailNext("POST /api/v1/chat.sendMessage", http.StatusBadRequest, "error-not-allowed")
	}
	s.bob.Send(s.mxRoom, "not at all")
	s.find("a word to bob", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.notice" && strings.Contains(fmt.Sprint(c["body"]), "was not carried to Rocket.Chat: Rocket.Chat refused it.")
	})
	s.rc.FailNext("POST /api/v1/chat.sendMessage", http.StatusBadRequest, "A Rocket.Chat App prevented the message sending. [error-app-prevented-sending]")
	s.bob.Send(s.mxRoom, "a bad word")
	s.find("a word to bob", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.notice" && strings.Contains(fmt.Sprint(c["body"]), "was not carried to Rocket.Chat: an app in Rocket.Chat does not allow it.")
	})
	s.bob.Send(s.mxRoom, "go on")
	s.messageText("go on")
	s.deadLetters(2)
}

// A workspace may let nobody edit messages. An edit on Matrix is then refused, and holds up
// nothing that follows.
func TestEditsThatRocketChatRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Set("Message_AllowEditing", false)
	event := s.bob.Send(s.mxRoom, "at noon")
	s.messageText("at noon")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "* at one", "m.new_content": map[string]any{"msgtype": "m.text", "body": "at one"},
		"m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event},
	})
	s.bob.Send(s.mxRoom, "at the usual place")
	s.messageText("at the usual place")
	s.find("a word to bob", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.notice" && strings.Contains(fmt.Sprint(c["body"]), "was not carried to Rocket.Chat: Rocket.Chat refused the edit.")
	})
	s.deadLetters(1)
	s.nothingWasRetried()
}

// nothingWasRetried fails the test if a delivery was attempted again, as others behind it had to wait.
func (s *stage) nothingWasRetried() {
	s.t.Helper()
	if strings.Contains(s.log.String(), "it will be retried") {
		s.t.Error("a delivery that cannot succeed was retried")
	}
}

// If Rocket.Chat does not allow a change, its author is told that it was not made;
// odd changes change nothing.
func TestRoomChangesThatRocketChatRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.promote()
	s.rc.FailNext("POST /api/v1/rooms.saveRoomSettings", http.StatusBadRequest, "error-not-allowed")
	s.setState("m.room.topic", map[string]any{"topic": "no topic of yours"})
	s.find("a word on Matrix", func(_ string, c map[string]any) bool {
		return strings.Contains(fmt.Sprint(c["body"]), s.bob.ID+": your change to this room was not made in Rocket.Chat, which does not allow it.")
	})
	s.setState("m.room.name", map[string]any{"name": ""})
	s.setState("m.room.avatar", map[string]any{"url": s.upload("a.png", "image/png", []byte("<html>no picture</html>"))})
	s.setState("m.room.avatar", map[string]any{"url": "mxc://" + s.far.Name + "/nothing"})
	s.setState("m.room.avatar", map[string]any{})
	s.setState("m.room.topic", map[string]any{"topic": strings.Repeat("long ", 1000)})
	topic := ""
	mxtest.WaitFor(t, "the topic", func() bool { topic = fmt.Sprint(s.rc.Room(s.room)["topic"]); return strings.HasPrefix(topic, "long") })
	if n := len([]rune(topic)); n != 4001 || !strings.HasSuffix(topic, "…") {
		t.Errorf("a topic of %d characters, which ends with %q", n, topic[len(topic)-10:])
	}
	if room := s.rc.Room(s.room); room["name"] != "plans" || room["avatarETag"] != nil {
		t.Errorf("the room became %v", room)
	}
}

// A moderator on Matrix can redact what others said, and a role that is no longer named
// there ends.
func TestModeratorsOnMatrix(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.promote()
	id := s.rc.Say(s.room, "alice", "something rude")
	event, _ := s.findText("something rude")
	s.bob.Redact(s.mxRoom, event)
	mxtest.WaitFor(t, "it to be gone in Rocket.Chat", func() bool {
		return !slices.ContainsFunc(s.rc.Said(s.room), func(m rctest.Message) bool { return m.ID == id })
	})
	// A deletion that Rocket.Chat refuses blocks nothing.
	stays := s.bob.Send(s.mxRoom, "this stays")
	s.messageText("this stays")
	s.rc.FailNext("POST /api/v1/chat.delete", http.StatusBadRequest, "error-action-not-allowed")
	s.bob.Redact(s.mxRoom, stays)
	s.bob.Send(s.mxRoom, "next")
	s.messageText("next")
	s.messageText("this stays")

	powers := s.state("m.room.power_levels")
	users, _ := powers["users"].(map[string]any)
	delete(users, s.bob.ID)
	s.setState("m.room.power_levels", powers)
	mxtest.WaitFor(t, "bob to be no owner", func() bool { return !slices.Contains(s.roles(s.puppet), "owner") })
}

// Reactions and pins that Rocket.Chat has no name for, or refuses, block nothing; the
// bridge makes a pin that the person may not make.
func TestReactionsAndPinsThatRocketChatRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.promote()
	id := s.rc.Say(s.room, "alice", "look at this")
	event, _ := s.findText("look at this")
	s.bobReacts(event, "no emoji at all")
	s.rc.FailNext("POST /api/v1/chat.react", http.StatusBadRequest, "error-not-allowed")
	s.bobReacts(event, "👍")
	s.bobReacts(event, "🎉")
	mxtest.WaitFor(t, "one reaction", func() bool { return len(s.reactionsInRC()) == 1 })
	s.rc.FailNext("POST /api/v1/chat.pinMessage", http.StatusBadRequest, "error-not-allowed")
	s.setState("m.room.pinned_events", map[string]any{"pinned": []string{event}})
	mxtest.WaitFor(t, "the pin", func() bool {
		return slices.ContainsFunc(s.rc.Messages(s.room), func(m rctest.Message) bool { return m.ID == id && m.Raw["pinned"] == true })
	})
	if got := s.reactionsInRC(); len(got) != 1 || !strings.Contains(got[0], "tada") {
		t.Errorf("reactions = %q", got)
	}
}

// A caption that is removed leaves its file.
func TestACaptionThatIsTakenAway(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	mxc := s.upload("plan.pdf", "application/pdf", []byte("%PDF-1.4"))
	event := s.bobSendsFile("plan.pdf", mxc, 8)
	s.message("the caption", func(m rctest.Message) bool { return m.File.Name == "plan.pdf" && shown(m) == "about plan.pdf" })
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.file", "body": "* plan.pdf", "m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event},
		"m.new_content": map[string]any{"msgtype": "m.file", "body": "plan.pdf", "filename": "plan.pdf", "url": mxc},
	})
	s.message("the file alone", func(m rctest.Message) bool { return m.File.Name == "plan.pdf" && shown(m) == "" })
}

// A group that becomes a channel stays connected, and messages quoted in it are found.
func TestAGroupThatBecomesAChannel(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.api("alice", "rooms.saveRoomSettings", map[string]any{"rid": s.room, "roomType": "c"})
	id := s.rc.Say(s.room, "alice", "now in public")
	event, _ := s.findText("now in public")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "seen", "m.relates_to": map[string]any{"m.in_reply_to": map[string]any{"event_id": event}},
	})
	s.message("the answer quoting it", func(m rctest.Message) bool {
		return strings.HasSuffix(m.Text, "seen") && strings.Contains(m.Text, "/channel/") && strings.Contains(m.Text, "?msg="+id)
	})
}

// A Matrix user's account that an administrator renames stays that user's.
func TestARenamedPuppetStaysThePerson(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.call(s.rc.Admin(), http.MethodPost, "users.update", map[string]any{"userId": s.rc.User(s.puppet)["_id"], "data": map[string]any{"username": "bobby"}}, nil)
	mxtest.WaitFor(t, "the bridge to know", func() bool {
		status, _ := s.command(s.people["alice"], s.room, "bridge", "whois @bobby")
		return status == http.StatusOK && strings.Contains(s.told("alice", "@bobby is "), "@bobby is "+s.bob.ID+" on Matrix.")
	})
	s.rc.Say(s.room, "alice", "hello @bobby")
	s.find("a mention of bob", func(_ string, c map[string]any) bool {
		return strings.Contains(fmt.Sprint(c["formatted_body"]), "matrix.to/#/"+url.PathEscape(s.bob.ID)) || strings.Contains(fmt.Sprint(c["formatted_body"]), "matrix.to/#/"+s.bob.ID)
	})
	s.bob.Send(s.mxRoom, "that is me")
	if m := s.messageText("that is me"); m.User.Username != "bobby" {
		t.Errorf("bob speaks as %s", m.User.Username)
	}
}
