package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// signedIn returns a browser without JavaScript in which ada is signed in.
func (w *world) signedIn() *visit {
	w.t.Helper()
	w.rc.CreateUser("ada", "user", "admin")
	v := visitor(w.t, w.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		w.t.Fatal(status, text)
	}
	return v
}

// send submits a form and returns the resulting page.
func (v *visit) send(page string, fields ...string) (int, string) {
	v.t.Helper()
	form := url.Values{"token": {v.token()}}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	status, text, _ := v.do(http.MethodPost, page, form)
	return status, text
}

// audited checks that the log says what was changed, by whom and how.
func (w *world) audited(wanted ...string) {
	w.t.Helper()
	log := w.log.String()
	for _, want := range wanted {
		if !regexp.MustCompile(want).MatchString(log) {
			w.t.Errorf("the log does not say %s", want)
		}
	}
}

// Denying a person in the console takes effect at once and is saved in the file, whose
// comments stay. Allowing them brings them back at once.
func TestAPersonIsDeniedInTheConsole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	v := s.signedIn()
	file := filepath.Join(s.dir, "bridge.yaml")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("# The operator's own words.\n"), old...), 0o600); err != nil {
		t.Fatal(err)
	}
	bob := s.bob.ID
	if _, text, _ := v.do(http.MethodGet, "people?q="+url.QueryEscape(bob), nil); !strings.Contains(text, bob) || !strings.Contains(text, "@"+s.puppet) {
		t.Errorf("bob is not listed\n%s", text)
	}
	if status, text := v.send("people/permit", "pattern", bob, "exact", "yes", "person", bob, "do", "deny"); status != http.StatusOK || !strings.Contains(text, "no: denied by") {
		t.Fatalf("%d\n%s", status, text)
	}
	if now, _ := os.ReadFile(file); !strings.HasPrefix(string(now), "# The operator's own words.\n") || !strings.Contains(string(now), bob) {
		t.Errorf("the file:\n%s", now)
	}
	s.bob.Send(s.mxRoom, "from a person who is denied")
	mxtest.WaitFor(t, "the message to be given up", func() bool {
		_, text, _ := v.do(http.MethodGet, "person?id="+url.QueryEscape(bob), nil)
		return strings.Contains(text, "given up") && strings.Contains(text, "the administrator does not allow it") && !strings.Contains(text, "from a person who")
	})
	if status, text := v.send("people/permit", "pattern", bob, "exact", "yes", "person", bob, "do", "allow"); status != http.StatusOK || !strings.Contains(text, "<dd>yes</dd>") {
		t.Fatalf("%d\n%s", status, text)
	}
	s.bob.Send(s.mxRoom, "from a person who is back")
	s.messageText("from a person who is back")
	s.audited(`signed in to the console.* user=`, `permissions were changed in the console.* user=\S+ list=users action=deny pattern=@bob`, `permissions were changed in the console.* user=\S+ list=users action=allow pattern=@bob`)
	for _, c := range [][2]string{{"not an address", "is not a pattern for a Matrix address"}, {"", "needs an address"}} {
		if status, text := v.send("people/permit", "pattern", c[0], "do", "deny"); status < 400 || !strings.Contains(text, "Nothing was changed.") || !strings.Contains(text, c[1]) {
			t.Errorf("%q: %d\n%s", c[0], status, text)
		}
	}
}

// Allowing a server does not let it in while a pattern denies it, and the console says
// so.
func TestAServerIsDeniedInTheConsole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	v := s.signedIn()
	server := s.far.Name
	_, text, _ := v.do(http.MethodGet, "servers", nil)
	if !strings.Contains(text, server) || !strings.Contains(text, `aria-label="1 people of `+server) {
		t.Errorf("the server is not listed with its people\n%s", text)
	}
	s.bob.Send(s.mxRoom, "counted")
	s.messageText("counted")
	if status, text := v.send("servers/permit", "pattern", server, "exact", "yes", "do", "deny"); status != http.StatusOK || !strings.Contains(text, "denied by "+server) {
		t.Fatalf("%d\n%s", status, text)
	}
	s.bob.Send(s.mxRoom, "not carried")
	mxtest.WaitFor(t, "a failure of the server", func() bool {
		_, text, _ := v.do(http.MethodGet, "servers?q="+url.QueryEscape(server), nil)
		return strings.Contains(strings.Join(strings.Fields(text), " "), "</code></td><td>1</td><td>1</td>")
	})
	if status, text := v.send("servers/permit", "pattern", server, "exact", "yes", "do", "allow"); status != http.StatusOK || strings.Contains(text, "denied by") {
		t.Fatalf("%d\n%s", status, text)
	}
	s.audited(`permissions were changed in the console.* user=\S+ list=servers action=deny pattern=`)
	glob := "*" + server[1:]
	if status, text := v.send("servers/permit", "pattern", glob, "do", "deny"); status != http.StatusOK || !strings.Contains(text, "denied by "+glob) {
		t.Fatalf("%d\n%s", status, text)
	}
	if status, text := v.send("servers/permit", "pattern", server, "exact", "yes", "do", "allow"); status != http.StatusConflict || !strings.Contains(text, "is denied by the pattern "+glob) {
		t.Errorf("%d\n%s", status, text)
	}
	if status, text := v.send("servers/permit", "pattern", glob, "do", "allow"); status != http.StatusOK || strings.Contains(text, "denied by") {
		t.Errorf("%d\n%s", status, text)
	}
}

// A room can be connected with its history in the console, as with /bridge history.
func TestARoomIsConnectedInTheConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user")
	room := w.rc.CreateRoom("p", "plans", "alice", w.bot.Username)
	w.rc.Say(room, "alice", "said before")
	v := w.signedIn()
	for _, c := range [][3]string{{"plans", "0", "from 1 to 10000"}, {"plans", "many", "from 1 to 10000"}, {"no-such-room", "5", "the bridge cannot see this room"}} {
		if status, text := v.send("rooms/connect", "room", c[0], "last", c[1]); status < 400 || !strings.Contains(text, "Nothing was changed.") || !strings.Contains(text, c[2]) {
			t.Errorf("%v: %d\n%s", c, status, text)
		}
	}
	status, text := v.send("rooms/connect", "room", "plans", "last", "5")
	if status != http.StatusOK || !strings.Contains(text, "of its messages and reactions are being carried there") {
		t.Fatalf("%d\n%s", status, text)
	}
	mxtest.WaitFor(t, "the past to be carried", func() bool {
		_, text, _ := v.do(http.MethodGet, "room?id="+room, nil)
		return strings.Count(text, "up to date") == 2 && strings.Contains(text, "@alice:")
	})
	if _, text, _ := v.do(http.MethodGet, "room?id="+room, nil); strings.Contains(text, "@ada:") {
		t.Error("the administrator is in the room on Matrix")
	}
	w.audited(`a room was connected in the console.* user=\S+ rc_room=` + room + ` asked=5`)
	if status, text := v.send("rooms/connect", "room", "plans", "last", "5"); status != http.StatusConflict || !strings.Contains(text, "is already connected with Matrix") {
		t.Errorf("%d\n%s", status, text)
	}
}

// Room names from Matrix can be anything; the console escapes and shortens them.
func TestTheNamesOfBothSidesAreInTheConsole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	v := s.signedIn()
	s.asServiceDo(http.MethodPut, "@rocket.cat:"+s.home.Name, "/rooms/"+s.mxRoom+"/state/m.room.name", map[string]any{"name": "<script>plans</script>" + strings.Repeat("x", 5000)})
	mxtest.WaitFor(t, "the name on Matrix", func() bool {
		_, text, _ := v.do(http.MethodGet, "room?id="+s.room, nil)
		return strings.Contains(text, "<dt>Matrix</dt><dd>&lt;script&gt;plans&lt;/script&gt;xxx") && !strings.Contains(text, strings.Repeat("x", 200))
	})
}

// Two existing rooms are linked, and from then on messages in one appear in the other.
// What cannot be linked is refused with a reason and left as it was.
func TestTwoRoomsAreLinkedInTheConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user")
	room := w.rc.CreateRoom("p", "garden", "alice", w.bot.Username)
	w.rc.CreateRoom("p", "shed", "alice", w.bot.Username)
	bob := w.far.Register("bob", "Bob Builder")
	var made struct {
		RoomID string `json:"room_id"`
	}
	bob.Must(http.MethodPost, "/_matrix/client/v3/createRoom", map[string]any{"preset": "public_chat", "room_alias_name": "garden", "name": "Garden"}, &made)
	mxRoom, alias := made.RoomID, "#garden:"+w.far.Name
	v := w.signedIn()
	for _, c := range [][3]string{
		{"garden", "garden", "is named by its alias"}, {"garden", "#nothing:" + w.far.Name, "there is no room"}, {"nothing", alias, "the bridge cannot see this room"},
	} {
		if status, text := v.send("rooms/link", "room", c[0], "matrix", c[1], "sure", "yes"); status != http.StatusConflict || !strings.Contains(text, c[2]) {
			t.Errorf("%v: %d\n%s", c, status, text)
		}
	}
	if status, text := v.send("rooms/link", "room", "garden", "matrix", alias); status != http.StatusBadRequest || !strings.Contains(text, "tick the box") {
		t.Errorf("without the tick: %d\n%s", status, text)
	}
	status, text := v.send("rooms/link", "room", "garden", "matrix", alias, "sure", "yes")
	if status != http.StatusOK || !strings.Contains(text, "The two rooms are connected.") || !strings.Contains(text, mxRoom) {
		t.Fatalf("%d\n%s", status, text)
	}
	w.audited(`two rooms were linked in the console.* user=\S+ rc_room=` + room)
	w.waitForGhost(bob, mxRoom, w.alice())
	mxtest.WaitFor(t, "bob to be in the room of Rocket.Chat", func() bool { return strings.Contains(fmt.Sprint(w.rc.Members(room)), "bob_") })
	bob.Send(mxRoom, "from Matrix")
	mxtest.WaitFor(t, "bob's message", func() bool { return strings.Contains(fmt.Sprint(w.saidInRC(room)), "from Matrix") })
	w.rc.Say(room, "alice", "from Rocket.Chat")
	w.waitForMatrix(bob, mxRoom, bob.ID+": from Matrix", w.alice()+": from Rocket.Chat")
	if status, text := v.send("rooms/link", "room", "shed", "matrix", alias, "sure", "yes"); status != http.StatusConflict || !strings.Contains(text, "is connected with another room") {
		t.Errorf("twice: %d\n%s", status, text)
	}
}

// When an administrator compares the members, those missing on one side are brought
// back, and the console says how many.
func TestTheMembersOfARoomAreComparedInTheConsole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	v := s.signedIn()
	if status, text := v.send("rooms/reconcile", "room", s.room); status != http.StatusOK || !strings.Contains(text, "nothing had to be corrected") {
		t.Errorf("%d\n%s", status, text)
	}
	// The bridge is not notified that alice's ghost has left.
	s.asService(s.alice(), "/rooms/"+s.mxRoom+"/leave", map[string]any{})
	mxtest.WaitFor(t, "alice to be out", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "leave" })
	if status, text := v.send("rooms/reconcile", "room", s.room); status != http.StatusOK || !strings.Contains(text, "1 difference between the members was corrected.") {
		t.Errorf("%d\n%s", status, text)
	}
	mxtest.WaitFor(t, "alice to be in again", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "join" })
	s.audited(`the members of a room were compared in the console.* user=\S+ rc_room=` + s.room + ` corrected=1`)
	if status, text := v.send("rooms/reconcile", "room", "gone"); status != http.StatusNotFound || !strings.Contains(text, "not connected with Matrix") {
		t.Errorf("%d\n%s", status, text)
	}
}
