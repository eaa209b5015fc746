package bridge_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// stage is a room with alice in Rocket.Chat and bob on Matrix, for tests of what
// crosses the bridge.
type stage struct {
	*world
	room, mxRoom string
	bob, dave    *mxtest.Person // dave if the test creates him
	puppet       string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOn(t, &rctest.Server{Polite: true})
}

func newStageOn(t *testing.T, rc *rctest.Server) *stage {
	t.Helper()
	return bridgedStage(newWorld(t, rc))
}

// bridgedStage returns a stage in a world.
func bridgedStage(w *world) *stage {
	w.t.Helper()
	s := &stage{world: w}
	s.room, s.mxRoom, s.bob = w.bridged()
	for _, m := range w.rc.Members(s.room) {
		if strings.HasPrefix(m, "bob_") {
			s.puppet = m
		}
	}
	return s
}

// find waits for an event in bob's timeline.
func (s *stage) find(what string, fits func(kind string, content map[string]any) bool) (id string, content map[string]any) {
	s.t.Helper()
	mxtest.WaitFor(s.t, what, func() bool {
		for _, e := range s.bob.Events(s.mxRoom) {
			c, _ := e["content"].(map[string]any)
			kind, _ := e["type"].(string)
			if fits(kind, c) {
				id, _ = e["event_id"].(string)
				content = c
				return true
			}
		}
		return false
	})
	return id, content
}

func (s *stage) findText(body string) (id string, content map[string]any) {
	s.t.Helper()
	return s.find(body, func(kind string, c map[string]any) bool { return kind == "m.room.message" && c["body"] == body })
}

// delivered returns how many messages our homeserver has received.
func (w *world) delivered() int {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.log.delivered
}

func (w *world) waitForDelivered(n int) {
	w.t.Helper()
	mxtest.WaitFor(w.t, "our homeserver to have it", func() bool { return w.delivered() >= n })
}

// message waits for a message in Rocket.Chat.
func (s *stage) message(what string, fits func(rctest.Message) bool) rctest.Message {
	s.t.Helper()
	var found rctest.Message
	mxtest.WaitFor(s.t, what, func() bool {
		for _, m := range s.rc.Messages(s.room) {
			if fits(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

func (s *stage) messageText(text string) rctest.Message {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			for _, m := range s.rc.Said(s.room) {
				s.t.Logf("in Rocket.Chat: %q", m.Text)
			}
		}
	}()
	return s.message(text, func(m rctest.Message) bool { return m.Text == text })
}

func relation(c map[string]any) map[string]any {
	r, _ := c["m.relates_to"].(map[string]any)
	return r
}

// redacted returns the event that a redaction redacts: since room version 11 its ID
// is inside the content.
func redacted(e map[string]any) any {
	if e["type"] != "m.room.redaction" {
		return nil
	}
	if c, _ := e["content"].(map[string]any); c["redacts"] != nil {
		return c["redacts"]
	}
	return e["redacts"]
}

func TestFeatureFormatting(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Say(s.room, "alice", "*bold* and `code`, @"+s.puppet)
	_, c := s.find("bold", func(_ string, c map[string]any) bool { return strings.Contains(fmt.Sprint(c["body"]), "bold") })
	html := fmt.Sprint(c["formatted_body"])
	if !strings.Contains(html, "<strong>bold</strong>") || !strings.Contains(html, "<code>code</code>") || !strings.Contains(html, s.bob.ID) {
		t.Errorf("formatted_body = %s", html)
	}
	if !strings.Contains(fmt.Sprint(c["m.mentions"]), s.bob.ID) {
		t.Errorf("m.mentions = %v", c["m.mentions"])
	}
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "bold and code", "format": "org.matrix.custom.html",
		"formatted_body": fmt.Sprintf(`<strong>bold</strong> and <code>code</code>, <a href="https://matrix.to/#/%s">alice</a>`, s.alice()),
	})
	s.messageText("*bold* and `code`, @alice")
}

func TestFeatureEdits(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.rc.Say(s.room, "alice", "frist")
	event, _ := s.findText("frist")
	s.rc.Edit(id, "alice", "first")
	_, c := s.find("the edit", func(_ string, c map[string]any) bool { return relation(c)["rel_type"] == "m.replace" })
	fresh, _ := c["m.new_content"].(map[string]any)
	if relation(c)["event_id"] != event || fresh["body"] != "first" {
		t.Errorf("edit = %v", c)
	}
	mine := s.bob.Send(s.mxRoom, "secnod")
	s.messageText("secnod")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "* second", "m.new_content": map[string]any{"msgtype": "m.text", "body": "second"},
		"m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": mine},
	})
	if m := s.messageText("second"); m.EditedAt == "" || m.User.Username != s.puppet {
		t.Errorf("message = %+v", m)
	}
	s.rc.Say(s.room, "alice", "the end")
	s.findText("the end")
	edits := 0
	for _, e := range s.bob.Events(s.mxRoom) {
		if c, _ := e["content"].(map[string]any); relation(c)["rel_type"] == "m.replace" {
			edits++
		}
	}
	if edits != 2 {
		t.Errorf("%d edits on Matrix: the bridge echoed one", edits)
	}
}

func TestFeatureDeletes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.rc.Say(s.room, "alice", "regretted")
	event, _ := s.findText("regretted")
	s.rc.Delete(id, "alice")
	defer func() {
		if t.Failed() {
			for _, e := range s.bob.Events(s.mxRoom) {
				t.Log(e)
			}
		}
	}()
	mxtest.WaitFor(t, "the redaction", func() bool {
		return slices.ContainsFunc(s.bob.Events(s.mxRoom), func(e map[string]any) bool {
			return redacted(e) == event && e["sender"] == s.alice()
		})
	})
	mine := s.bob.Send(s.mxRoom, "also regretted")
	s.messageText("also regretted")
	s.bob.Redact(s.mxRoom, mine)
	mxtest.WaitFor(t, "the deletion", func() bool {
		return !slices.ContainsFunc(s.rc.Messages(s.room), func(m rctest.Message) bool { return m.Text == "also regretted" })
	})
}

func TestFeatureReactions(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.rc.Say(s.room, "alice", "nice?")
	event, _ := s.findText("nice?")
	s.rc.React(id, "alice", "smile")
	reaction, c := s.find("the reaction", func(kind string, _ map[string]any) bool { return kind == "m.reaction" })
	if relation(c)["event_id"] != event || relation(c)["key"] != "😄" {
		t.Errorf("reaction = %v", c)
	}
	s.rc.Unreact(id, "alice", "smile")
	mxtest.WaitFor(t, "the reaction to be taken back", func() bool {
		return slices.ContainsFunc(s.bob.Events(s.mxRoom), func(e map[string]any) bool { return redacted(e) == reaction })
	})
	mine := s.bob.SendEvent(s.mxRoom, "m.reaction", map[string]any{
		"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": event, "key": "👍️"},
	})
	reacted := func() bool {
		m := s.messageText("nice?")
		for _, r := range m.Reactions {
			if slices.Contains(r.Usernames, s.puppet) {
				return true
			}
		}
		return false
	}
	mxtest.WaitFor(t, "bob's reaction", reacted)
	s.bob.Redact(s.mxRoom, mine)
	mxtest.WaitFor(t, "bob's reaction to be taken back", func() bool { return !reacted() })
}

// Custom emoji that Rocket.Chat's administrators have added are pictures on Matrix.
func TestFeatureCustomEmoji(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Say(s.room, "alice", "no :blobcat: yet")
	s.findText("no :blobcat: yet")
	green := color.RGBA{G: 200, A: 255}
	s.post(s.bot, "emoji-custom.create", "emoji", portrait(green), map[string]string{"name": "blobcat", "aliases": "bc"})
	source := func(html string) string {
		_, rest, _ := strings.Cut(html, `<img data-mx-emoticon src="`)
		uri, _, _ := strings.Cut(rest, `"`)
		return uri
	}
	for n, name := range []string{":blobcat:", ":bc:"} {
		// Whether the server has announced it yet cannot be seen from outside.
		var html string
		mxtest.WaitFor(t, "the picture of "+name, func() bool {
			text := fmt.Sprintf("look %d %s %s", n, name, rand.Text())
			s.rc.Say(s.room, "alice", text)
			_, c := s.findText(text)
			html, _ = c["formatted_body"].(string)
			return source(html) != ""
		})
		if !strings.Contains(html, `alt="`+name+`"`) || !looks(s.download(source(html)), green) {
			t.Errorf("html = %s", html)
		}
	}
	id := s.rc.Say(s.room, "alice", "nice?")
	event, _ := s.findText("nice?")
	for _, c := range []map[string]any{{"key": ":blobcat:"}, {"key": "mxc://example.org/cat", "shortcode": ":blobcat:"}} {
		content := map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": event, "key": c["key"]}}
		if c["shortcode"] != nil {
			content["com.beeper.reaction.shortcode"] = c["shortcode"]
		}
		reacted := func() bool {
			return slices.Contains(s.messageText("nice?").Reactions[":blobcat:"].Usernames, s.puppet)
		}
		mine := s.bob.SendEvent(s.mxRoom, "m.reaction", content)
		mxtest.WaitFor(t, fmt.Sprint("bob's reaction ", c), reacted)
		s.bob.Redact(s.mxRoom, mine)
		mxtest.WaitFor(t, "bob's reaction to be taken back", func() bool { return !reacted() })
	}
	s.rc.React(id, "alice", "blobcat")
	s.find("alice's reaction", func(kind string, c map[string]any) bool {
		return kind == "m.reaction" && relation(c)["key"] == ":blobcat:"
	})
}

func TestFeatureRepliesAndThreads(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.rc.Say(s.room, "alice", "question")
	event, _ := s.findText("question")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "answer", "m.relates_to": map[string]any{"m.in_reply_to": map[string]any{"event_id": event}},
	})
	s.message("the answer quoting the question", func(m rctest.Message) bool {
		return strings.HasSuffix(m.Text, "answer") && strings.Contains(m.Text, "?msg="+id)
	})
	s.rc.Say(s.room, "alice", fmt.Sprintf("[ ](%s/group/plans?msg=%s) my own answer", s.rc.URL, id))
	_, c := s.findText("my own answer")
	if to, _ := relation(c)["m.in_reply_to"].(map[string]any); to["event_id"] != event {
		t.Errorf("reply = %v", c)
	}
	s.rc.Reply(s.room, "alice", id, "in the thread")
	_, c = s.findText("in the thread")
	if relation(c)["rel_type"] != "m.thread" || relation(c)["event_id"] != event {
		t.Errorf("thread = %v", c)
	}
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "there too", "m.relates_to": map[string]any{
			"rel_type": "m.thread", "event_id": event, "is_falling_back": true, "m.in_reply_to": map[string]any{"event_id": event},
		},
	})
	if m := s.messageText("there too"); m.Thread != id {
		t.Errorf("thread = %q, want %q", m.Thread, id)
	}
}

func TestFeatureLongMessages(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	long := strings.Repeat("Many words make a long story. ", 400) // 12,000 characters: three messages
	event := s.bob.Send(s.mxRoom, long)
	parts := func() (n int, text string) {
		for _, m := range s.rc.Said(s.room) {
			if m.User.Username == s.puppet {
				n++
				text += m.Text + " "
			}
		}
		return n, strings.Join(strings.Fields(text), " ")
	}
	mxtest.WaitFor(t, "three messages", func() bool { n, _ := parts(); return n == 3 })
	if _, text := parts(); text != strings.TrimSpace(long) {
		t.Errorf("%d characters arrived of %d", len(text), len(long))
	}
	edit := func(text string) {
		s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
			"msgtype": "m.text", "body": "* " + text, "m.new_content": map[string]any{"msgtype": "m.text", "body": text},
			"m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event},
		})
	}
	edit("short")
	mxtest.WaitFor(t, "one message", func() bool { n, text := parts(); return n == 1 && text == "short" })
	longer := strings.Repeat("Even more words. ", 500)
	edit(longer)
	mxtest.WaitFor(t, "two messages", func() bool { n, text := parts(); return n == 2 && text == strings.TrimSpace(longer) })

	s.rc.Set("Message_MaxAllowedSize", 200000)
	huge := strings.Repeat("Something to say, at length. ", 3000) // 87 kB: three events
	id := s.rc.Say(s.room, "alice", huge)
	events := func() (n int, text string) {
		gone, fresh := map[any]bool{}, map[any]any{}
		all := s.bob.Events(s.mxRoom)
		for _, e := range all {
			c, _ := e["content"].(map[string]any)
			if e["type"] == "m.room.redaction" {
				gone[redacted(e)] = true
			}
			if n, ok := c["m.new_content"].(map[string]any); ok {
				fresh[relation(c)["event_id"]] = n["body"]
			}
		}
		for _, e := range all {
			c, _ := e["content"].(map[string]any)
			body, _ := c["body"].(string)
			if e["type"] != "m.room.message" || e["sender"] != s.alice() || strings.HasPrefix(body, "warming") || relation(c)["rel_type"] == "m.replace" || gone[e["event_id"]] || body == "" {
				continue
			}
			if edited, ok := fresh[e["event_id"]].(string); ok {
				body = edited
			}
			n++
			text += body + " "
		}
		return n, strings.Join(strings.Fields(text), " ")
	}
	mxtest.WaitFor(t, "three events", func() bool { n, text := events(); return n == 3 && text == strings.TrimSpace(huge) })
	s.rc.Edit(id, "alice", "brief")
	mxtest.WaitFor(t, "one event", func() bool { n, text := events(); return n == 1 && text == "brief" })
}

func TestFeatureDirectRoomsOpenedInRocketChat(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dm := s.rc.CreateDirect("alice", s.puppet)
	n := s.delivered()
	s.rc.Say(dm, "alice", "psst, bob")
	// A server that joins at the very moment a message is sent may lose it, and
	// people are not that quick.
	s.waitForDelivered(n + 1)
	mxRoom, inviter := s.bob.AcceptInvitation()
	if inviter != s.alice() {
		t.Errorf("%s invited", inviter)
	}
	s.waitForMatrix(s.bob, mxRoom, s.alice()+": psst, bob")
	s.bob.Send(mxRoom, "what is it?")
	s.waitForRC(dm, "alice: psst, bob", s.puppet+": what is it?")

	s.rc.CreateUser("carol")
	three := s.rc.CreateDirect("alice", "carol", s.puppet)
	n = s.delivered()
	s.rc.Say(three, "carol", "hello you two")
	s.waitForDelivered(n + 1)
	mxRoom, inviter = s.bob.AcceptInvitation()
	s.rc.Say(three, "alice", "hello")
	if want := "@carol:" + s.home.Name; inviter != want {
		t.Errorf("%s invited, want %s", inviter, want)
	}
	s.waitForMatrix(s.bob, mxRoom, "@carol:"+s.home.Name+": hello you two", s.alice()+": hello")
	s.bob.Send(mxRoom, "hello both")
	s.waitForRC(three, "carol: hello you two", "alice: hello", s.puppet+": hello both")
}

func TestFeatureDirectRoomsOpenedWhileTheBridgeIsDown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.stop()
	dm := s.rc.CreateDirect("alice", s.puppet)
	s.rc.Say(dm, "alice", "anybody there?")
	n := s.delivered()
	s.startBridge()
	s.waitForDelivered(n + 1)
	mxRoom, _ := s.bob.AcceptInvitation()
	s.waitForMatrix(s.bob, mxRoom, s.alice()+": anybody there?")
}

func TestFeatureEditsTakenBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	event := s.bob.Send(s.mxRoom, "one")
	s.messageText("one")
	edit := func(text string) string {
		return s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
			"msgtype": "m.text", "body": "* " + text, "m.new_content": map[string]any{"msgtype": "m.text", "body": text},
			"m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event},
		})
	}
	second := edit("two")
	s.messageText("two")
	third := edit("three")
	s.messageText("three")
	s.bob.Redact(s.mxRoom, third)
	s.messageText("two")
	s.bob.Redact(s.mxRoom, second)
	s.messageText("one")
}

func TestFeatureManyDeletedAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	s.rc.Say(s.room, "carol", "I was here")
	s.rc.Say(s.room, "carol", "and here")
	first, _ := s.findText("I was here")
	second, _ := s.findText("and here")
	s.rc.Set("Message_ErasureType", "Delete")
	s.api(s.rc.Admin().Username, "users.delete", map[string]any{"username": "carol"})
	mxtest.WaitFor(t, "both to be taken back", func() bool {
		gone := map[any]bool{}
		for _, e := range s.bob.Events(s.mxRoom) {
			gone[redacted(e)] = true
		}
		return gone[first] && gone[second]
	})
}

// A discussion is connected like any other room: messages, replies, edits, deletions,
// reactions and calls cross, and so do people who come and go.
func TestFeatureDiscussions(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol", "user", "bot")
	s.api("alice", "rooms.createDiscussion", map[string]any{"prid": s.room, "t_name": "What to pack"})
	s.find("word of the discussion", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.text" && strings.Contains(fmt.Sprint(c["body"]), "started a discussion") && strings.Contains(fmt.Sprint(c["body"]), "What to pack")
	})
	parent := *s
	for _, r := range s.rooms() {
		if r["prid"] == parent.room {
			s.room = fmt.Sprint(r["_id"])
		}
	}
	s.must(s.rc.Login("alice"), s.room, "bridge", "invite "+s.bob.ID)
	s.mxRoom, _ = s.bob.AcceptInvitation()
	mxtest.WaitFor(t, "bob in the discussion", func() bool { return slices.Contains(s.rc.Members(s.room), s.puppet) })
	s.warmUp(s.bob, s.mxRoom, s.room)
	if name := s.state("m.room.name")["name"]; name != "What to pack" {
		t.Errorf("the room is called %v", name)
	}

	tent := s.bob.Send(s.mxRoom, "a tent")
	id := s.messageText("a tent").ID
	s.rc.React(id, "alice", ":+1:")
	mxtest.WaitFor(t, "alice's reaction", func() bool { l := s.reactionsOnMatrix(s.alice()); return len(l) == 1 && strings.HasPrefix(l[0], tent) })
	s.bobEdits(tent, "two tents")
	mxtest.WaitFor(t, "bob's edit", func() bool {
		return slices.ContainsFunc(s.rc.Messages(s.room), func(m rctest.Message) bool { return m.ID == id && m.Text == "two tents" })
	})
	s.rc.Reply(s.room, "alice", id, "and a stove")
	stove, c := s.findText("and a stove")
	if relation(c)["rel_type"] != "m.thread" || relation(c)["event_id"] != tent {
		t.Errorf("the answer in a thread is %v", c)
	}
	for _, m := range s.rc.Said(s.room) {
		if m.Text == "and a stove" {
			s.rc.Delete(m.ID, "alice")
		}
	}
	mxtest.WaitFor(t, "what alice takes back to be gone", func() bool { return s.takenBack(stove) })

	carol := "@carol:" + s.home.Name
	s.rc.Invite(s.room, "alice", "carol")
	mxtest.WaitFor(t, "carol to come", func() bool { return s.bob.Members(s.mxRoom)[carol] == "join" })
	s.rc.Leave(s.room, "carol")
	mxtest.WaitFor(t, "carol to go", func() bool { return s.bob.Members(s.mxRoom)[carol] == "leave" })
	s.callsInRocketChat()
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/leave", map[string]any{}, nil)
	mxtest.WaitFor(t, "bob to go", func() bool { return !slices.Contains(s.rc.Members(s.room), s.puppet) })
	for _, text := range saidOnMatrix(parent.bob, parent.mxRoom) {
		if strings.HasSuffix(text, "and a stove") || strings.Contains(text, "started a call") {
			t.Errorf("what was said in the discussion was said in the room too: %s", text)
		}
	}
}

// callsInRocketChat: the start of a call in Rocket.Chat is announced on Matrix, by the person who starts it.
func (s *stage) callsInRocketChat() {
	s.t.Helper()
	if os.Getenv("ROCKETCHAT_URL") != "" {
		return // a real server needs an app that provides calls
	}
	s.rc.Set("VideoConf_Default_Provider", "jitsi")
	s.api("alice", "video-conference.start", map[string]any{"roomId": s.room})
	mxtest.WaitFor(s.t, "a word of alice's call", func() bool {
		for _, e := range s.bob.Events(s.mxRoom) {
			c, _ := e["content"].(map[string]any)
			if e["sender"] == s.alice() && strings.Contains(fmt.Sprint(c["body"]), "started a call in Rocket.Chat") {
				return true
			}
		}
		return false
	})
}

// People who join or leave a team's room do so on Matrix too, as in any other room.
func TestFeatureTeams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	for _, name := range []string{"alice", "carol"} {
		w.rc.CreateUser(name, "user", "bot")
	}
	s := &stage{world: w, bob: w.far.Register("bob", "Bob Builder")}
	var out struct {
		Team struct {
			ID   string `json:"_id"`
			Room string `json:"roomId"`
		} `json:"team"`
	}
	s.call(s.rc.Login("alice"), http.MethodPost, "teams.create", map[string]any{"name": "crew", "type": 0}, &out)
	s.room = out.Team.Room
	s.must(s.rc.Login("alice"), s.room, "bridge", "invite "+s.bob.ID)
	s.mxRoom, _ = s.bob.AcceptInvitation()
	s.join()
	s.warmUp(s.bob, s.mxRoom, s.room)
	carol, id := "@carol:"+s.home.Name, s.rc.User("carol")["_id"]
	is := func(what, want string) {
		t.Helper()
		mxtest.WaitFor(t, what, func() bool { return s.bob.Members(s.mxRoom)[carol] == want })
	}
	s.rc.Join(s.room, "carol")
	is("carol to join the team", "join")
	s.rc.Leave(s.room, "carol")
	is("carol to leave it", "leave")
	s.api("alice", "teams.addMembers", map[string]any{"teamId": out.Team.ID, "members": []any{map[string]any{"userId": id, "roles": []string{"member"}}}})
	is("carol to be added", "join")
	s.api("alice", "teams.removeMember", map[string]any{"teamId": out.Team.ID, "userId": id})
	is("carol to be removed", "leave")
	s.bob.Send(s.mxRoom, "hello crew")
	s.messageText("hello crew")
}

// asked returns the bridge's response to a request from its operator.
func (w *world) asked(method, path, body string) string {
	w.t.Helper()
	res := w.operator(method, path, body)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Errorf("%s %s: %d %s, %v", method, path, res.StatusCode, text, err)
	}
	return string(text)
}

func TestFeatureDeadLetters(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.api("alice", "rooms.muteUser", map[string]any{"roomId": s.room, "username": s.puppet})
	s.bob.Send(s.mxRoom, "too late?")
	dropped := s.bob.Send(s.mxRoom, "never mind")
	s.find("a word to bob", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.notice" && strings.Contains(fmt.Sprint(c["body"]), "was not carried to Rocket.Chat")
	})
	var list []struct{ ID, Cause string }
	mxtest.WaitFor(t, "two dead letters", func() bool {
		text := s.asked(http.MethodGet, "/queue/dead", "")
		if strings.Contains(text, "too late?") {
			t.Fatalf("the list says what was said: %s", text)
		}
		return json.Unmarshal([]byte(text), &list) == nil && len(list) == 2
	})
	if !strings.Contains(list[0].Cause, "muted") || list[1].ID != dropped {
		t.Errorf("dead letters: %+v", list)
	}
	if old := s.asked(http.MethodGet, "/buried", ""); !strings.Contains(old, `"buried":"2`) || !strings.Contains(old, list[0].ID) {
		t.Errorf("under the old name: %s", old)
	}
	if got := s.asked(http.MethodPost, "/queue/dead/drop", fmt.Sprintf(`{"ids":[%q,"$other"]}`, dropped)); got != fmt.Sprintf(`{"dropped":[%q],"unknown":["$other"]}`, dropped)+"\n" {
		t.Errorf("dropped: %s", got)
	}
	s.api("alice", "rooms.unmuteUser", map[string]any{"roomId": s.room, "username": s.puppet})
	res := s.operator(http.MethodPost, "/queue/dead/retry", "{}")
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a retry of neither some nor all: %d", res.StatusCode)
	}
	if got := s.asked(http.MethodPost, "/queue/dead/retry", `{"all":true}`); !strings.Contains(got, list[0].ID) {
		t.Errorf("retried: %s", got)
	}
	s.messageText("too late?")
	if got := s.asked(http.MethodGet, "/queue/dead", ""); got != "[]\n" {
		t.Errorf("left: %s", got)
	}
	if slices.ContainsFunc(s.saidInRC(s.room), func(m string) bool { return strings.HasSuffix(m, "never mind") }) {
		t.Error("what was dropped was said")
	}
}

// While federation is off, the operator sees which lanes are waiting, since when, and
// how often they were tried.
func TestTheOperatorSeesWhatEachLaneWaitsFor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.configure("enabled: false\n")
	began := time.Now().Add(-time.Minute)
	first := s.bob.Send(s.mxRoom, "one")
	s.bob.Send(s.mxRoom, "two")
	var q bridge.Lanes
	mxtest.WaitFor(t, "two items that wait", func() bool {
		return json.Unmarshal([]byte(s.asked(http.MethodGet, "/queue", "")), &q) == nil && q.Waiting == 2
	})
	if len(q.Lanes) != 1 || q.Lanes[0].Lane != "mx:"+s.mxRoom || q.Lanes[0].Waiting != 2 || q.Lanes[0].First != first || q.Lanes[0].Oldest.Before(began) {
		t.Errorf("lanes: %+v", q)
	}
	s.configure("enabled: true\n")
	s.messageText("two")
	mxtest.WaitFor(t, "nothing to wait", func() bool {
		var q bridge.Lanes
		return json.Unmarshal([]byte(s.asked(http.MethodGet, "/queue", "")), &q) == nil && len(q.Lanes) == 0 && q.Waiting == 0
	})
}

func TestFeatureRoomMentionsAndLimits(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Set("Message_MaxAllowedSize", 60)
	s.rc.Say(s.room, "alice", "it is about #plans")
	_, c := s.find("the room as a link", func(_ string, c map[string]any) bool { return strings.Contains(fmt.Sprint(c["body"]), "it is about") })
	if html := fmt.Sprint(c["formatted_body"]); !strings.Contains(html, "https://matrix.to/#/") {
		t.Errorf("formatted_body = %s", html)
	}
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "this room", "format": "org.matrix.custom.html",
		"formatted_body": fmt.Sprintf(`<a href="https://matrix.to/#/%s">this room</a>`, s.mxRoom),
	})
	s.messageText("#plans")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{"msgtype": "m.text", "body": "hello all of you", "m.mentions": map[string]any{"room": true}})
	s.messageText("hello all of you") // bob may not mention everybody
	s.promote()
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{"msgtype": "m.text", "body": "wake up", "m.mentions": map[string]any{"room": true}})
	s.messageText("@all wake up")
	s.bob.Send(s.mxRoom, strings.Repeat("words and words ", 8))
	mxtest.WaitFor(t, "three messages", func() bool {
		n := 0
		for _, m := range s.rc.Said(s.room) {
			if strings.Contains(m.Text, "words") && len(m.Text) <= 60 {
				n++
			}
		}
		return n == 3
	})
}
