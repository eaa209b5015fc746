package bridge_test

import (
	"database/sql"
	"fmt"
	"image/color"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// doubled is a stage on which bob, a Matrix user, has an account of his own in Rocket.Chat.
type doubled struct {
	*stage
	bobby rctest.Person // bob's own account, which is not in the room
	lobby string
}

func newDoubled(t *testing.T) *doubled {
	t.Helper()
	d := &doubled{stage: newStage(t)}
	d.bobby = d.rc.CreateUser("bobby", "user")
	d.lobby = d.rc.CreateRoom("p", "lobby", "bobby")
	return d
}

var inCode = regexp.MustCompile(`!link ([A-Z2-7]{4}(?:-[A-Z2-7]{4}){3})`)

// code requests a code as the owner of an account, and returns it.
func (d *doubled) code(who rctest.Person, name, address string) string {
	d.t.Helper()
	before := d.codes(name)
	d.must(who, "GENERAL", "bridge", "me "+address)
	var code string
	mxtest.WaitFor(d.t, name+" to get a code", func() bool {
		all := d.codes(name)
		if len(all) > len(before) {
			code = all[len(all)-1]
		}
		return code != ""
	})
	return code
}

// codes returns the codes that the bridge has sent a person.
func (d *doubled) codes(name string) (codes []string) {
	var ims struct {
		IMs []struct {
			ID        string   `json:"_id"`
			Usernames []string `json:"usernames"`
		} `json:"ims"`
	}
	d.call(d.bot, http.MethodGet, "im.list?count=100", nil, &ims)
	for _, im := range ims.IMs {
		if !slices.Contains(im.Usernames, name) {
			continue
		}
		for _, m := range d.rc.Messages(im.ID) {
			if found := inCode.FindStringSubmatch(m.Text); found != nil {
				codes = append(codes, found[1])
			}
		}
	}
	return codes
}

// link links bob to bobby.
func (d *doubled) link() {
	d.t.Helper()
	d.bob.Send(d.mxRoom, "!link "+d.code(d.bobby, "bobby", d.bob.ID))
	d.answered(d.bob, "appears there as @bobby")
}

// answered waits for a reply from the bridge on Matrix.
func (d *doubled) answered(who *mxtest.Person, text string) {
	d.t.Helper()
	mxtest.WaitFor(d.t, "the answer "+text, func() bool { return d.answers(who, text) > 0 })
}

// answers returns how many of the bridge's replies contain a text.
func (d *doubled) answers(who *mxtest.Person, text string) (n int) {
	for _, e := range who.Events(d.mxRoom) {
		c, _ := e["content"].(map[string]any)
		if body, _ := c["body"].(string); c["msgtype"] == "m.notice" && strings.Contains(body, text) {
			n++
		}
	}
	return n
}

// says sends a message as bob and returns the user who posts it in Rocket.Chat.
func (d *doubled) says(text string) (username string) {
	d.t.Helper()
	d.bob.Send(d.mxRoom, text)
	return d.rc.WaitFor(d.t, d.room, text).User.Username
}

func TestWhatIsWrittenOnMatrixIsBothTheirsAndOnce(t *testing.T) {
	t.Parallel()
	d := newDoubled(t)
	if who := d.says("before"); who != d.puppet {
		t.Fatalf("%s says what bob writes, want the puppet", who)
	}
	d.link()
	d.told("bobby", "appears here under your name")
	if who := d.says("mine"); who != "bobby" {
		t.Errorf("%s says what bob writes, want bobby", who)
	}
	if members := d.rc.Members(d.room); !slices.Contains(members, "bobby") || !slices.Contains(members, d.puppet) {
		t.Errorf("members: %q", members)
	}
	// What bobby types in Rocket.Chat crosses as before; what the bridge posts as bobby does not return.
	d.rc.Say(d.room, "bobby", "typed here")
	bobbyOnMatrix := "@bobby:" + d.home.Name
	mxtest.WaitFor(t, "what bobby types", func() bool { return slices.Contains(saidOnMatrix(d.bob, d.mxRoom), bobbyOnMatrix+": typed here") })
	for _, said := range saidOnMatrix(d.bob, d.mxRoom) {
		if strings.HasPrefix(said, bobbyOnMatrix) && said != bobbyOnMatrix+": typed here" {
			t.Errorf("twice on Matrix: %s", said)
		}
	}
	for _, said := range d.saidInRC(d.room) {
		if strings.Contains(said, "!link") {
			t.Errorf("a code is shown in Rocket.Chat: %s", said)
		}
	}
	d.must(d.bobby, d.lobby, "bridge", "me off")
	d.told("bobby", "no longer writes with your account")
	if who := d.says("after"); who != d.puppet {
		t.Errorf("%s says what bob writes after the end, want the puppet", who)
	}
	if m := d.rc.WaitFor(t, d.room, "mine"); m.User.Username != "bobby" {
		t.Errorf("what was written before the end is %s's now", m.User.Username)
	}
	if u := d.rc.User("bobby"); u["active"] != true || u["username"] != "bobby" || strings.Contains(fmt.Sprint(u["name"]), "localhost") {
		t.Errorf("the account has changed: %v", u)
	}
	if strings.Contains(d.log.String(), d.codes("bobby")[0]) {
		t.Error("the log holds a code")
	}
}

func TestEditsFilesAndReactionsOfADouble(t *testing.T) {
	t.Parallel()
	d := newDoubled(t)
	old := d.bob.Send(d.mxRoom, "older than the link")
	d.rc.WaitFor(t, d.room, "older than the link")
	d.link()
	text := d.bob.Send(d.mxRoom, "to be edited")
	message := d.rc.WaitFor(t, d.room, "to be edited")
	for event, after := range map[string]string{text: "edited", old: "the older edited"} {
		d.bob.SendEvent(d.mxRoom, "m.room.message", map[string]any{"msgtype": "m.text", "body": "* " + after,
			"m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event}, "m.new_content": map[string]any{"msgtype": "m.text", "body": after}})
		d.rc.WaitFor(t, d.room, after)
	}
	picture := portrait(color.RGBA{R: 255, A: 255})
	d.bob.SendEvent(d.mxRoom, "m.room.message", map[string]any{"msgtype": "m.image", "body": "look", "filename": "window.png",
		"url": d.upload("window.png", "image/png", picture), "info": map[string]any{"mimetype": "image/png", "size": len(picture)}})
	shown := d.rc.WaitForMessage(t, d.room, "the picture", func(m rctest.Message) bool { return m.File.Name == "window.png" })
	if shown.User.Username != "bobby" {
		t.Errorf("the picture is %s's", shown.User.Username)
	}
	d.rc.Say(d.room, "alice", "nice")
	nice, _ := d.findText("nice")
	reaction := d.bob.SendEvent(d.mxRoom, "m.reaction", map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": nice, "key": "👍"}})
	reactors := func() (by []string) {
		for _, m := range d.rc.Messages(d.room) {
			if m.Text == "nice" {
				for _, r := range m.Reactions {
					by = append(by, r.Usernames...)
				}
			}
		}
		return by
	}
	mxtest.WaitFor(t, "bobby to react", func() bool { return slices.Equal(reactors(), []string{"bobby"}) })
	d.rc.Say(d.room, "alice", "the end") // any echo has arrived by now
	d.findText("the end")
	for _, e := range d.bob.Events(d.mxRoom) {
		if e["sender"] == "@bobby:"+d.home.Name && (e["type"] == "m.reaction" || e["type"] == "m.room.message") {
			t.Errorf("twice on Matrix: %v", e["content"])
		}
	}
	d.bob.Redact(d.mxRoom, reaction)
	mxtest.WaitFor(t, "the reaction to go", func() bool { return len(reactors()) == 0 })
	d.bob.Redact(d.mxRoom, text)
	d.bob.Redact(d.mxRoom, old)
	mxtest.WaitFor(t, "both messages to go", func() bool {
		return !slices.ContainsFunc(d.rc.Said(d.room), func(m rctest.Message) bool { return m.ID == message.ID || m.Text == "the older edited" })
	})
}

// A code is useless to a person whom the owner of the account did not name. It works once,
// for a limited time, and only after few mistakes.
func TestAttackCodesOfOthers(t *testing.T) {
	t.Parallel()
	d := newDoubled(t)
	eve := d.far.Register("eve", "Bob Builder")
	d.must(d.people["alice"], d.room, "bridge", "invite "+eve.ID)
	room, _ := eve.AcceptInvitation()
	mxtest.WaitFor(t, "eve to be in the room", func() bool { return eve.Members(room)[eve.ID] == "join" && d.bob.Members(room)[eve.ID] == "join" })

	refused := func(who *mxtest.Person, code string) {
		t.Helper()
		before := d.answers(d.bob, "this code is not valid")
		who.Send(d.mxRoom, "!link "+code)
		mxtest.WaitFor(t, "a refusal", func() bool { return d.answers(d.bob, "this code is not valid") > before })
	}
	code := d.code(d.bobby, "bobby", d.bob.ID)
	for range 6 { // by another person: bob keeps his own attempts
		refused(eve, code)
	}
	d.bob.Send(d.mxRoom, "!link "+code)
	d.answered(d.bob, "appears there as @bobby")
	d.bob.Send(d.mxRoom, "!link "+code)
	d.answered(d.bob, "you write with the account @bobby already")
	d.bob.Send(d.mxRoom, "!unlink")
	d.answered(d.bob, "no longer appears as @bobby")
	d.told("bobby", "they have ended it")
	refused(d.bob, code) // used before

	code = d.code(d.bobby, "bobby", d.bob.ID)
	d.store(`UPDATE double_claims SET expires = 1`)
	refused(d.bob, code)

	code = d.code(d.bobby, "bobby", d.bob.ID)
	for range 5 {
		refused(d.bob, "AAAA-BBBB-CCCC-DDDD")
	}
	refused(d.bob, code)

	code = d.code(d.bobby, "bobby", d.bob.ID)
	d.must(d.bobby, d.lobby, "bridge", "me off") // not confirmed yet
	refused(d.bob, code)
	if n := d.stored(`SELECT COUNT(*) FROM doubles`); n != 0 {
		t.Errorf("%d accounts are linked", n)
	}
	if n := d.stored(fmt.Sprintf(`SELECT COUNT(*) FROM double_claims WHERE digest LIKE '%%%s%%'`, strings.ReplaceAll(code, "-", ""))); n != 0 {
		t.Error("the code is stored as it is")
	}
	// Only our homeserver is trusted to say who sent an event.
	code = d.code(d.bobby, "bobby", d.bob.ID)
	forged := fmt.Sprintf(`{"events":[{"type":"m.room.message","event_id":"$forged","room_id":%q,"sender":%q,"origin_server_ts":1,"content":{"msgtype":"m.text","body":"!link %s"}}]}`, d.mxRoom, d.bob.ID, code)
	req, _ := http.NewRequest(http.MethodPut, d.url+"/_matrix/app/v1/transactions/forged", strings.NewReader(forged))
	req.Header.Set("Authorization", "Bearer guessed")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a forged transaction: %s", res.Status)
	}
	if who := d.says("still the puppet"); who != d.puppet {
		t.Errorf("%s says what bob writes", who)
	}
}

// store changes the database of the bridge, and stored counts in it.
func (d *doubled) store(query string) {
	d.t.Helper()
	db := d.database()
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(d.t.Context(), query); err != nil {
		d.t.Fatal(err)
	}
}

func (d *doubled) stored(query string) (n int) {
	d.t.Helper()
	db := d.database()
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(d.t.Context(), query).Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (d *doubled) database() *sql.DB {
	d.t.Helper()
	db, err := sql.Open("sqlite", "file:"+d.dir+"/bridge.db?_pragma=busy_timeout(10000)")
	if err != nil {
		d.t.Fatal(err)
	}
	return db
}

// The bridge does not do with an account what its owner may not do, or may no longer do.
func TestALinkedAccountKeepsItsLimits(t *testing.T) {
	t.Parallel()
	d := newDoubled(t)
	ada := d.rc.CreateUser("ada", "user", "admin")
	if status, _ := d.command(ada, d.lobby, "bridge", "me "+d.bob.ID); status == http.StatusOK {
		t.Error("an administrator's account can be linked")
	}
	d.told("ada", "an administrator's account cannot be linked")
	d.link()
	if who := d.says("mine"); who != "bobby" {
		t.Fatalf("%s says what bob writes", who)
	}
	// A command from Matrix is plain text.
	if who := d.says("/bridge me off"); who != "bobby" {
		t.Errorf("%s", who)
	}
	if who := d.says("and still"); who != "bobby" {
		t.Errorf("%s: a text of Matrix was carried out as a command", who)
	}
	// A person who was removed from a room is not brought back.
	d.rc.Kick(d.room, "alice", "bobby")
	mxtest.WaitFor(t, "the puppet to speak again", func() bool { return d.says("removed "+fmt.Sprint(len(d.rc.Said(d.room)))) == d.puppet })
	if who := d.says("outside"); who != d.puppet || slices.Contains(d.rc.Members(d.room), "bobby") {
		t.Errorf("%s says it, members are %q: bobby was brought back into the room", who, d.rc.Members(d.room))
	}
	d.rc.Invite(d.room, "alice", "bobby")
	if who := d.says("invited again"); who != "bobby" {
		t.Errorf("%s speaks for bob, who is back", who)
	}
	d.call(d.rc.Admin(), http.MethodPost, "roles.addUserToRole", map[string]any{"username": "bobby", "roleId": "admin"}, nil)
	if who := d.says("an administrator now"); who != d.puppet {
		t.Errorf("%s: an administrator's account speaks for bob", who)
	}
	if n := d.stored(`SELECT COUNT(*) FROM doubles`); n != 0 {
		t.Error("the account of an administrator stays linked")
	}
	// Bob leaves on Matrix: bobby stays in the room in his own right.
	d.bob.Must("POST", "/_matrix/client/v3/rooms/"+d.mxRoom+"/leave", map[string]any{}, nil)
	mxtest.WaitFor(t, "the puppet to leave", func() bool { return !slices.Contains(d.rc.Members(d.room), d.puppet) })
	if u := d.rc.User("bobby"); u["active"] != true || !slices.Contains(d.rc.Members(d.room), "bobby") {
		t.Error("bobby is gone with the puppet")
	}
}

// The echo of a message that the bridge posted with a person's account may arrive before the
// response, which may be lost. It is not mistaken for something that the person typed.
func TestTheEchoOfADoubleThatComesFirst(t *testing.T) {
	t.Parallel()
	d := newDoubled(t)
	d.link()
	if who := d.says("the first"); who != "bobby" {
		t.Fatalf("%s says what bob writes", who)
	}
	d.rc.LoseNext("POST /api/v1/chat.sendMessage")
	d.rc.FailNext("GET /api/v1/chat.getMessage", http.StatusServiceUnavailable, "away")
	if who := d.says("the answer is lost"); who != "bobby" {
		t.Errorf("%s says what bob writes", who)
	}
	d.rc.Say(d.room, "alice", "the end")
	d.findText("the end")
	for _, e := range d.bob.Events(d.mxRoom) {
		if e["sender"] == "@bobby:"+d.home.Name && e["type"] == "m.room.message" {
			t.Errorf("twice on Matrix: %v", e["content"])
		}
	}
}

// An administrator starts a link for a person, and ends it. The code goes to the owner of the
// account, not to the administrator.
func TestAnAdministratorLinksAPersonInTheConsole(t *testing.T) {
	t.Parallel()
	d := newDoubled(t)
	v := d.signedIn()
	page := "person?id=" + url.QueryEscape(d.bob.ID)
	for username, want := range map[string]string{"nobody-at-all": "there is no account of this name", "ada": "an administrator&#39;s account cannot be linked", "matrix-bridge": "belongs to a program"} {
		_, _, _ = v.do(http.MethodGet, page, nil)
		if _, text := v.send("people/link", "person", d.bob.ID, "username", username, "do", "link"); !strings.Contains(text, want) {
			t.Errorf("%s: want %q in\n%s", username, want, text)
		}
	}
	_, _, _ = v.do(http.MethodGet, page, nil)
	if _, text := v.send("people/link", "person", d.bob.ID, "username", "@bobby", "do", "link"); !strings.Contains(text, "The owner of the account was sent a code") || strings.Contains(text, "!link") {
		t.Fatal(text)
	}
	if who := d.says("nobody has agreed yet"); who != d.puppet {
		t.Errorf("%s says what bob writes", who)
	}
	d.told("bobby", "An administrator asks whether "+d.bob.ID+" on Matrix is you")
	d.bob.Send(d.mxRoom, "!link "+d.codes("bobby")[0])
	d.answered(d.bob, "appears there as @bobby")
	for page, want := range map[string]string{page: "<code>@bobby</code>", "people?q=bob": "(with <code>@bobby</code>)"} {
		if _, text, _ := v.do(http.MethodGet, page, nil); !strings.Contains(text, want) {
			t.Errorf("%s: want %q in\n%s", page, want, text)
		}
	}
	if who := d.says("both have agreed"); who != "bobby" {
		t.Errorf("%s says what bob writes", who)
	}
	ghost := "@bobby:" + d.home.Name
	if _, text, _ := v.do(http.MethodGet, "person?id="+url.QueryEscape(ghost), nil); !strings.Contains(text, d.bob.ID) {
		t.Errorf("the page of the account\n%s", text)
	}
	if _, text := v.send("people/link", "person", ghost, "do", "unlink"); !strings.Contains(text, "The link has ended") {
		t.Errorf("%s", text)
	}
	if who := d.says("ended by ada"); who != d.puppet {
		t.Errorf("%s says what bob writes", who)
	}
	d.told("bobby", "an administrator has ended it")
	if !strings.Contains(d.log.String(), "an account link was changed in the console") {
		t.Error("the change is not in the log")
	}
}
