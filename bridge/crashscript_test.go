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
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// talk is a conversation that covers everything people do, in a room of its own between
// people of its own: what is new to the bridge is new in each talk.
type talk struct {
	*stage
	n                  int
	alice, carol, erin rctest.Person
	daves              string // dave's account in Rocket.Chat
	direct, mxDirect   string

	here, there      []string // IDs of the messages sent in Rocket.Chat, and on Matrix
	events, messages []string // their counterparts on the other side
	picture          []byte
}

// name returns a person's name, which nobody else has.
func (k *talk) name(who string) string { return fmt.Sprint(who, k.n) }

func (k *talk) ghost(who string) string { return "@" + k.name(who) + ":" + k.home.Name }

// converse does everything, and waits only where people would: for an invitation before
// they accept it, for a message before they reply to it.
func (k *talk) converse() {
	k.t.Helper()
	k.meet()
	k.say()
	k.change()
	k.arrange()
	k.part()
}

// meet begins the conversation: alice invites bob, then dave.
func (k *talk) meet() {
	k.alice, k.carol, k.erin = k.rc.CreateUser(k.name("alice"), "user", "bot"), k.rc.CreateUser(k.name("carol"), "user", "bot"), k.rc.CreateUser(k.name("erin"), "user", "bot")
	k.bob, k.dave = k.far.Register(k.name("bob"), "Bob Builder"), k.far.Register(k.name("dave"), "Dave")
	k.room = k.rc.CreateRoom("p", k.name("plans"), k.alice.Username, k.carol.Username)
	k.insist("invite " + k.bob.ID)
	k.mxRoom, _ = k.bob.AcceptInvitation()
	k.puppet = k.arrived("bob")
	k.insist("invite " + k.dave.ID)
	k.dave.AcceptInvitation()
	k.daves = k.arrived("dave")
}

// insist repeats a command until it is answered, as people do who get no answer.
func (k *talk) insist(params string) {
	k.t.Helper()
	body, _ := json.Marshal(map[string]string{"command": "bridge", "params": params, "roomId": k.room})
	var last string
	mxtest.WaitFor(k.t, "an answer to /bridge "+params, func() bool {
		req, _ := http.NewRequestWithContext(k.t.Context(), http.MethodPost, k.url+"/api/v1/commands.run", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		rctest.Sign(req, k.alice)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false // the bridge has died; the web server would answer
		}
		var text bytes.Buffer
		_, _ = text.ReadFrom(res.Body)
		_ = res.Body.Close()
		if last != text.String() && res.StatusCode != http.StatusOK {
			last = text.String()
			k.t.Logf("/bridge %s: %d %s", params, res.StatusCode, last)
		}
		return res.StatusCode == http.StatusOK || strings.Contains(last, "already")
	})
}

// arrived waits until the account of a Matrix user is in the room.
func (k *talk) arrived(who string) (username string) {
	k.t.Helper()
	mxtest.WaitFor(k.t, who+" to be in the room", func() bool {
		for _, m := range k.rc.Members(k.room) {
			if strings.HasPrefix(m, k.name(who)+"_") {
				username = m
			}
		}
		return username != ""
	})
	return username
}

// say sends the first messages, in both directions at once.
func (k *talk) say() {
	k.picture = append(picture(20, 20), byte(k.n), byte(k.n>>8)) // unique to this talk
	for i := range 6 {
		who := k.alice
		if i == 2 {
			who = k.carol
		}
		k.here = append(k.here, k.rc.Say(k.room, who.Username, fmt.Sprint("r ", i)))
		from := k.bob
		if i == 2 {
			from = k.dave
		}
		k.there = append(k.there, from.Send(k.mxRoom, fmt.Sprint("m ", i)))
	}
	k.rc.Upload(k.room, k.alice.Username, "r.png", "image/png", k.picture, "")
	k.bob.SendEvent(k.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.image", "body": "m.png", "filename": "m.png", "url": k.upload("m.png", "image/png", k.picture), "info": map[string]any{"mimetype": "image/png", "size": len(k.picture)},
	})
	k.direct = k.rc.CreateDirect(k.alice.Username, k.puppet)
	k.rc.Say(k.direct, k.alice.Username, "r psst")
	for i := range k.here {
		id, _ := k.findText(fmt.Sprint("r ", i))
		k.events = append(k.events, id)
		k.messages = append(k.messages, k.messageText(fmt.Sprint("m ", i)).ID)
	}
	k.mxDirect, _ = k.bob.AcceptInvitation()
	mxtest.WaitFor(k.t, "what bob answers", func() bool { return len(saidOnMatrix(k.bob, k.mxDirect)) > 0 })
	k.bob.Send(k.mxDirect, "m psst")
}

// change does what people do to earlier messages.
func (k *talk) change() {
	k.rc.Typing(k.room, k.alice.Username, true)
	k.bobTypes(true)
	k.rc.Edit(k.here[1], k.alice.Username, "r 1 edited")
	k.rc.Edit(k.here[1], k.alice.Username, "r 1 edited again")
	k.rc.React(k.here[4], k.alice.Username, "smile")
	k.rc.React(k.messages[4], k.carol.Username, "heart")
	k.rc.React(k.here[5], k.alice.Username, "tada")
	k.rc.Delete(k.here[3], k.alice.Username)
	k.rc.Reply(k.room, k.carol.Username, k.here[4], "r in the thread")
	k.rc.Say(k.room, k.alice.Username, fmt.Sprintf("[ ](%s/group/plans?msg=%s) r answer", k.rc.URL, k.messages[5]))
	k.bobEdits(k.there[1], "m 1 edited")
	k.bobEdits(k.there[1], "m 1 edited again")
	k.bobReacts(k.events[4], "👍️")
	k.bobReacts(k.there[4], "🎉")
	gone := k.bob.SendEvent(k.mxRoom, "m.reaction", map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": k.events[5], "key": "🎉"}})
	k.bob.Redact(k.mxRoom, k.there[3])
	k.dave.SendEvent(k.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "m in the thread",
		"m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": k.there[4], "is_falling_back": true, "m.in_reply_to": map[string]any{"event_id": k.there[4]}},
	})
	k.bob.SendEvent(k.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "m answer", "m.relates_to": map[string]any{"m.in_reply_to": map[string]any{"event_id": k.events[5]}},
	})
	k.rc.Unreact(k.here[5], k.alice.Username, "tada")
	k.bob.Redact(k.mxRoom, gone)
	k.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+k.mxRoom+"/receipt/m.read/"+url.PathEscape(k.events[5]), map[string]any{}, nil)
	k.call(k.alice, http.MethodPost, "subscriptions.read", map[string]any{"rid": k.room}, nil)
}

// arrange does what people do to the room.
func (k *talk) arrange() {
	as := k.alice.Username
	k.rc.SetTopic(k.room, as, "r topic")
	k.rc.Rename(k.room, as, k.name("journeys"))
	k.api(as, "rooms.saveRoomSettings", map[string]any{"rid": k.room, "roomAvatar": "data:image/png;base64," + base64.StdEncoding.EncodeToString(portrait(color.RGBA{B: 200, A: 255}))})
	k.api(as, "chat.pinMessage", map[string]any{"messageId": k.here[0]})
	k.api(as, "groups.addOwner", map[string]any{"roomId": k.room, "userId": k.rc.User(k.puppet)["_id"]})
	k.rc.SetName(as, "Alice the "+fmt.Sprint(k.n))
	k.rc.Invite(k.room, as, k.erin.Username)
	k.rc.Say(k.room, k.erin.Username, "r hello")
	k.rc.Leave(k.room, k.carol.Username)
	mxtest.WaitFor(k.t, "what bob has to see before he changes it", func() bool {
		return k.power(k.bob.ID) == 90 && k.state("m.room.topic")["topic"] == "r topic" && k.state("m.room.name")["name"] == k.name("journeys") &&
			k.bob.Members(k.mxRoom)[k.ghost("erin")] == "join" && k.state("m.room.pinned_events") != nil
	})
	k.setState("m.room.topic", map[string]any{"topic": "m topic"})
	k.setState("m.room.name", map[string]any{"name": "m" + k.name("voyages")})
	k.setState("m.room.pinned_events", map[string]any{"pinned": []string{k.events[0], k.there[0]}})
}

// part ends the conversation: dave leaves, bob kicks erin, and alice and bob say a last word.
func (k *talk) part() {
	k.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(k.mxRoom)+"/kick", map[string]any{"user_id": k.ghost("erin")}, nil)
	k.dave.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(k.mxRoom)+"/leave", map[string]any{}, nil)
	k.rc.Say(k.room, k.alice.Username, "r end")
	k.bob.Send(k.mxRoom, "m end")
}

// compare waits until both sides are complete, and returns the differences from what
// they should have.
func (k *talk) compare(patience time.Duration) string {
	want := k.wanted()
	var got string
	for deadline := time.Now().Add(patience); ; {
		if got = k.found(); got == want || time.Now().After(deadline) {
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	if got == want {
		return ""
	}
	var wrong []string
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "", ""
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			wrong = append(wrong, "got  "+b, "want "+a)
		}
	}
	return strings.Join(wrong, "\n")
}

// wanted returns what both sides have if nothing was lost, duplicated or mixed up.
func (k *talk) wanted() string {
	a, c, e := k.ghost("alice"), k.ghost("carol"), k.ghost("erin")
	var b strings.Builder
	line := func(what string, values ...string) { fmt.Fprintf(&b, "%s: %s\n", what, strings.Join(values, " | ")) }
	line("said on Matrix", a+" r 0", a+" r 1 edited again", c+" r 2", a+" r 4", a+" r 5", c+" r in the thread in thread of r 4", a+" r answer to m 5", e+" r hello", a+" r end")
	line("said in Rocket.Chat", k.puppet+" m 0", k.puppet+" m 1 edited again", k.daves+" m 2", k.puppet+" m 4", k.puppet+" m 5", k.daves+" m in the thread in thread of m 4", k.puppet+" m answer to r 5", k.puppet+" m end")
	line("said in the direct room on Matrix", a+" r psst", k.bob.ID+" m psst")
	line("said in the direct room in Rocket.Chat", k.alice.Username+" r psst", k.puppet+" m psst")
	line("files on Matrix", a+" r.png")
	line("files in Rocket.Chat", k.puppet+" m.png")
	line("reactions on Matrix", sorted(a+" 😄 r 4", c+" ❤️ m 4")...)
	line("reactions in Rocket.Chat", sorted(k.puppet+" :thumbsup: r 4", k.puppet+" :tada: m 4", k.alice.Username+" :smile: r 4", k.carol.Username+" :heart: m 4")...)
	line("in the room on Matrix", sorted(k.bob.ID, a)...)
	line("in the room in Rocket.Chat", sorted(k.puppet, k.alice.Username)...)
	line("room on Matrix", "m topic", "m"+k.name("voyages"), "an avatar of ours", k.events[0]+" "+k.there[0])
	line("room in Rocket.Chat", "m topic", "m"+k.name("voyages"), "pinned m 0, r 0")
	line("alice on Matrix", "Alice the "+fmt.Sprint(k.n))
	return b.String()
}

// found returns what both sides have, in the format of wanted.
func (k *talk) found() string {
	var b strings.Builder
	line := func(what string, values ...string) { fmt.Fprintf(&b, "%s: %s\n", what, strings.Join(values, " | ")) }
	said, files := k.onMatrix(k.mxRoom)
	saidRC, filesRC := k.inRocketChat(k.room)
	line("said on Matrix", slices.DeleteFunc(said, func(s string) bool { return !strings.HasSuffix(strings.Fields(s)[0], ":"+k.home.Name) })...)
	line("said in Rocket.Chat", slices.DeleteFunc(saidRC, func(s string) bool { return !strings.Contains(strings.Fields(s)[0], "_") })...)
	said, _ = k.onMatrix(k.mxDirect)
	saidRC, _ = k.inRocketChat(k.direct)
	line("said in the direct room on Matrix", said...)
	line("said in the direct room in Rocket.Chat", saidRC...)
	line("files on Matrix", slices.DeleteFunc(files, func(s string) bool { return strings.HasSuffix(s, "m.png") })...)
	line("files in Rocket.Chat", slices.DeleteFunc(filesRC, func(s string) bool { return strings.HasSuffix(s, "r.png") })...)
	line("reactions on Matrix", k.reactedOnMatrix()...)
	line("reactions in Rocket.Chat", k.reactedInRC()...)
	line("in the room on Matrix", k.inside()...)
	line("in the room in Rocket.Chat", slices.DeleteFunc(k.rc.Members(k.room), func(m string) bool { return m == rctest.BotName })...)
	avatar, _ := k.state("m.room.avatar")["url"].(string)
	if strings.HasPrefix(avatar, "mxc://"+k.home.Name) {
		avatar = "an avatar of ours"
	}
	var pins []string
	if l, ok := k.state("m.room.pinned_events")["pinned"].([]any); ok {
		for _, p := range l {
			pins = append(pins, fmt.Sprint(p))
		}
	}
	line("room on Matrix", fmt.Sprint(k.state("m.room.topic")["topic"]), fmt.Sprint(k.state("m.room.name")["name"]), avatar, strings.Join(pins, " "))
	pins = nil
	for _, m := range k.rc.Said(k.room) {
		if m.Raw["pinned"] == true {
			pins = append(pins, m.Text)
		}
	}
	room := k.rc.Room(k.room)
	line("room in Rocket.Chat", fmt.Sprint(room["topic"]), fmt.Sprint(room["name"]), "pinned "+strings.Join(sorted(pins...), ", "))
	line("alice on Matrix", k.bob.DisplayName(k.ghost("alice")))
	return b.String()
}

// inside lists the members of the room on Matrix, without the bridge's own account.
func (k *talk) inside() []string {
	var out []string
	for who, membership := range k.bob.Members(k.mxRoom) {
		if membership == "join" && !strings.HasPrefix(who, "@rocket.cat:") {
			out = append(out, who)
		}
	}
	return sorted(out...)
}

// onMatrix returns the messages of a room in order, as "sender text", with the last edit,
// without redacted ones, and with what they reply to. A duplicate edit is reported.
func (k *talk) onMatrix(room string) (said, files []string) {
	type saying struct {
		sender, text, to string
		file             bool
		edits            []string
	}
	byID, order := map[string]*saying{}, []*saying{}
	texts := map[string]string{}
	for _, e := range k.bob.Events(room) {
		c, _ := e["content"].(map[string]any)
		id := fmt.Sprint(e["event_id"])
		if gone, ok := redacted(e).(string); ok && byID[gone] != nil {
			byID[gone].text = ""
		}
		if e["type"] != "m.room.message" || c["body"] == nil || c["msgtype"] == "m.notice" {
			continue
		}
		r := relation(c)
		if old := byID[fmt.Sprint(r["event_id"])]; old != nil && r["rel_type"] == "m.replace" {
			fresh, _ := c["m.new_content"].(map[string]any)
			old.text = fmt.Sprint(fresh["body"])
			old.edits = append(old.edits, old.text)
			continue
		}
		s := &saying{sender: fmt.Sprint(e["sender"]), text: fmt.Sprint(c["body"]), file: c["msgtype"] != "m.text"}
		texts[id] = s.text
		to, _ := r["m.in_reply_to"].(map[string]any)
		switch {
		case r["rel_type"] == "m.thread":
			s.to = " in thread of " + texts[fmt.Sprint(r["event_id"])]
		case to != nil:
			s.to = " to " + texts[fmt.Sprint(to["event_id"])]
		}
		byID[id] = s
		order = append(order, s)
	}
	for _, s := range order {
		switch text := s.sender + " " + s.text + s.to; {
		case s.text == "":
		case s.file:
			files = append(files, text)
		case len(slices.Compact(slices.Clone(s.edits))) < len(s.edits):
			said = append(said, text+" (edited twice to the same)")
		default:
			said = append(said, text)
		}
	}
	return said, files
}

// inRocketChat is onMatrix for the other side.
func (k *talk) inRocketChat(room string) (said, files []string) {
	texts := map[string]string{}
	for _, m := range k.rc.Said(room) {
		texts[m.ID] = m.Text
		if m.User.ID == k.bot.ID {
			continue
		}
		text := m.User.Username + " " + m.Text
		if before, rest, ok := strings.Cut(m.Text, "?msg="); ok && strings.HasPrefix(before, "[") {
			id, answer, _ := strings.Cut(rest, ")")
			text = m.User.Username + " " + strings.TrimSpace(answer) + " to " + texts[id]
		}
		if m.Thread != "" {
			text += " in thread of " + texts[m.Thread]
		}
		switch {
		case m.File.Name != "":
			files = append(files, m.User.Username+" "+m.File.Name)
		case m.Text != "":
			said = append(said, text)
		}
	}
	return said, files
}

// reactedOnMatrix lists the reactions of Rocket.Chat's users that have not been redacted.
func (k *talk) reactedOnMatrix() []string {
	texts, gone := map[string]string{}, map[any]bool{}
	var out []string
	all := k.bob.Events(k.mxRoom)
	for _, e := range all {
		c, _ := e["content"].(map[string]any)
		texts[fmt.Sprint(e["event_id"])] = fmt.Sprint(c["body"])
		gone[redacted(e)] = true
	}
	for _, e := range all {
		c, _ := e["content"].(map[string]any)
		if e["type"] == "m.reaction" && strings.HasSuffix(fmt.Sprint(e["sender"]), ":"+k.home.Name) && !gone[e["event_id"]] && c["m.relates_to"] != nil {
			out = append(out, fmt.Sprint(e["sender"], " ", relation(c)["key"], " ", texts[fmt.Sprint(relation(c)["event_id"])]))
		}
	}
	return sorted(out...)
}

func (k *talk) reactedInRC() []string {
	var out []string
	for _, m := range k.rc.Messages(k.room) {
		for emoji, r := range m.Reactions {
			for _, u := range r.Usernames {
				out = append(out, u+" "+emoji+" "+m.Text)
			}
		}
	}
	return sorted(out...)
}
