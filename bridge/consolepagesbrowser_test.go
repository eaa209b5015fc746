package bridge_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"appliance/bridge/ids"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/store"
)

// peopled returns a world whose bridge already knows some Matrix people.
func peopled(t *testing.T, rc *rctest.Server) *stage {
	t.Helper()
	home := mxtest.Kind(t)
	w := worldSpec{namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(t, home), noBridge: true}.start(t, rc)
	s, err := store.Open(t.Context(), "sqlite:"+w.dir+"/bridge.db")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		name := []string{"Grace", "Heidi", "Ivan", "Judy", "Mallory", "Niaj"}[i%6]
		server := []string{"matrix.example", "garden.example", "chat.example.org", "spam.example"}[i%4]
		user := ids.MXUser(fmt.Sprintf("@%s%d:%s", strings.ToLower(name), i, server))
		p := model.Puppet{MXUser: user, RCUser: ids.RCUser(fmt.Sprintf("puppet%d", i)), Username: fmt.Sprintf("%s%d_%s", strings.ToLower(name), i, strings.ReplaceAll(server, ".", "_")), Name: name + " (" + server + ")"}
		if err := s.PutPuppet(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.startBridge()
	return bridgedStage(w)
}

// TestPeopleAndServersInABrowser uses the people and servers pages as an administrator does.
func TestPeopleAndServersInABrowser(t *testing.T) {
	needBrowser(t)
	s := peopled(t, &rctest.Server{Polite: true})
	s.rc.CreateUser("ada", "user", "admin")
	b := openBrowser(t, s.front().URL)
	b.signIn("ada", "ada")
	b.shows("Everything is connected.")
	s.bob.Send(s.mxRoom, "for the counters")
	s.messageText("for the counters")

	b.open("people")
	b.shows("Grace (matrix.example)")
	b.accessible("people")
	b.press(".pages a")
	b.shows("Back to the first")
	b.open("people")
	eval[string](b, `document.body.dataset.old = "yes"`)
	b.run("search", chromedp.SendKeys(chromedp.CSS("input[name=q]"), "spam.EXAMPLE\r"), chromedp.WaitReady(chromedp.CSS(`body:not([data-old]) main`)))
	b.shows("spam.example")
	if text := b.text(); strings.Contains(text, "garden.example") {
		t.Errorf("the search:\n%s", text)
	}
	b.open("people?of=rocketchat")
	b.shows("@alice:")
	b.open("people?q=" + url.QueryEscape(s.bob.ID))
	b.press("tbody a")
	b.shows("A person on Matrix")
	b.press("button[value=deny]")
	b.shows("no: denied by " + s.bob.ID)
	s.bob.Send(s.mxRoom, "secret words of a person who is denied")
	mxtest.WaitFor(t, "the message to be given up", func() bool { return s.deadOf(b) })
	if text := b.text(); strings.Contains(text, "secret words") {
		t.Errorf("what was said is shown:\n%s", text)
	}
	b.accessible("person")
	b.press("button[value=allow]")
	b.shows("Allowed. This is saved in bridge.yaml and in force.")

	s.linkedInABrowser(b)

	s.amongLaterItems(b)

	b.open("servers")
	b.shows(s.far.Name)
	b.press(`button[aria-label="Deny spam.example"]`)
	b.shows("denied by spam.example")
	b.accessible("servers")
	b.press(`button[aria-label="Allow spam.example"]`)
	b.shows("Allowed.")
	b.run("a pattern that is none", chromedp.SendKeys(chromedp.CSS("input[name=pattern]:not([type=hidden])"), "not a server"))
	b.press(`section button[value=deny]`)
	b.shows("is not a pattern for a server name")
}

// linkedInABrowser links bob to an account of his in Rocket.Chat, and unlinks it.
func (s *stage) linkedInABrowser(b *browser) {
	s.t.Helper()
	d := &doubled{stage: s, bobby: s.rc.CreateUser("bobby", "user")}
	page := "person?id=" + url.QueryEscape(s.bob.ID)
	name := chromedp.CSS("input[name=username]")
	b.open(page)
	b.accessible("person-own")
	eval[string](b, `document.querySelector("input[name=username]").removeAttribute("maxlength"), ""`)
	eval[string](b, `document.querySelector("input[name=username]").value = "<script>document.title='owned'</script>" + "W".repeat(10000)`)
	b.press("button[value=link]")
	b.shows("No account has so long a name.")
	b.open(page)
	b.run("a name that nobody has", chromedp.SendKeys(name, "<b>nobody</b>"))
	b.press("button[value=link]")
	b.shows("there is no account of this name in Rocket.Chat.")
	b.open(page)
	b.run("an administrator's name", chromedp.SendKeys(name, "ada"))
	b.press("button[value=link]")
	b.shows("an administrator's account cannot be linked")
	b.open(page)
	b.run("the name of the account", chromedp.SendKeys(name, "@bobby"))
	b.press("button[value=link]")
	b.shows("The owner of the account was sent a code.")
	s.told("bobby", "!link")
	s.bob.Send(s.mxRoom, "!link "+d.codes("bobby")[0])
	d.answered(s.bob, "appears there as @bobby")
	b.open(page)
	b.shows("what this person writes on Matrix is theirs in Rocket.Chat")
	b.accessible("person-linked")
	s.must(d.bobby, "GENERAL", "bridge", "me off") // while the page is open
	b.press("button[value=unlink]")
	b.shows("this person is not linked, or no longer is.")
	s.bob.Send(s.mxRoom, "!link "+d.code(d.bobby, "bobby", s.bob.ID))
	mxtest.WaitFor(s.t, "the second link", func() bool { b.open(page); return strings.Contains(b.text(), "@bobby") })
	b.press("button[value=unlink]")
	b.shows("The link has ended: the puppet writes again.")
}

// amongLaterItems finds a person's waiting items behind more items of other people than one
// page scans.
func (s *stage) amongLaterItems(b *browser) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.dir+"/bridge.db?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const others, grace = 4100, "@grace0:matrix.example"
	add := func(tx *sql.Tx, n int, sender string) {
		payload := fmt.Sprintf(`{"type":"m.room.message","event_id":"$later%d","room_id":"!later:matrix.example","sender":%q,"origin_server_ts":1,"content":{"msgtype":"m.text","body":"never shown"}}`, n, sender)
		if _, err := tx.ExecContext(s.t.Context(), `INSERT INTO items (seq, id, lane, kind, payload, accepted, attempts, cause, buried) VALUES ($1, $2, 'mx:!later:matrix.example', 'mx.message', $3, 1, 1, 'later than others', 1)`,
			1_000_000+n, fmt.Sprint("$later", n), []byte(payload)); err != nil {
			s.t.Fatal(err)
		}
	}
	tx, err := db.BeginTx(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for n := range others {
		add(tx, n, "@others:matrix.example")
	}
	add(tx, others, grace)
	if err := tx.Commit(); err != nil {
		s.t.Fatal(err)
	}
	b.open("person?id=" + url.QueryEscape(grace))
	b.shows("None of their items is waiting or was given up among the items that were looked at.")
	b.press(`#main a[href*="from="]`)
	b.shows("later than others")
	if text := b.text(); strings.Contains(text, "never shown") || strings.Contains(text, "Look among later items") {
		s.t.Errorf("the later items:\n%s", text)
	}
	if _, err := db.ExecContext(s.t.Context(), `DELETE FROM items WHERE lane = 'mx:!later:matrix.example'`); err != nil {
		s.t.Fatal(err)
	}
}

// deadOf reports whether bob's page shows a dead letter.
func (s *stage) deadOf(b *browser) bool {
	b.open("person?id=" + url.QueryEscape(s.bob.ID))
	return strings.Contains(b.text(), "the administrator does not allow it")
}

// Errors are explained, and names chosen by other people are inert and stay short.
func TestBadInputOnTheNewPagesInABrowser(t *testing.T) {
	needBrowser(t)
	var shown atomic.Pointer[string]
	s := newStageOn(t, &rctest.Server{Polite: true, OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		name := shown.Load()
		if name == nil || r.URL.Path != "/api/v1/rooms.info" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "room": map[string]any{"_id": r.URL.Query().Get("roomId"), "t": "p", "name": "x", "fname": *name}})
		return true
	}})
	s.rc.CreateUser("ada", "user", "admin")
	s.rc.CreateUser("carol", "user")
	b := openBrowser(t, s.front().URL)
	b.signIn("carol", "carol")
	b.shows("This account is not an administrator")
	b.open("people")
	b.shows("Use the name and password of an administrator")
	b.signIn("ada", "ada")
	b.shows("Everything is connected.")

	hostile := `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>` + "\u202e" + strings.Repeat("W", 10_000)
	shown.Store(&hostile)
	for _, page := range []string{"rooms", "room?id=" + s.room, "people?q=" + url.QueryEscape(hostile[:900]), "servers?q=" + url.QueryEscape(hostile[:900]), "person?id=" + url.QueryEscape(hostile[:900])} {
		b.open(page)
		if page == "rooms" { // known names are refreshed while the page is shown
			mxtest.WaitFor(t, "the new name", func() bool { b.open(page); return strings.Contains(b.text(), "<img src=x") })
		}
		if n := eval[int](b, `document.querySelectorAll("main img, main script").length`); n != 0 {
			t.Errorf("%s: %d elements of others", page, n)
		}
		if over := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("%s: %d pixels too many", page, over)
		}
		if title := eval[string](b, `document.title`); strings.Contains(title, "owned") {
			t.Errorf("%s: a script of others ran", page)
		}
		if text := b.text(); strings.Count(text, "W") > 700 || strings.Contains(text, "\u202e") {
			t.Errorf("%s shows a name as it is: %d characters", page, len(text))
		}
	}

	b.open("people")
	b.run("an address", chromedp.SendKeys(chromedp.CSS("input[name=pattern]"), "@eve:example.org"))
	eval[string](b, `[...document.querySelectorAll("input[name=token]")].map(e => e.value = "forged").join()`)
	b.press("section button[value=deny]")
	b.shows("This form does not belong to your session. Nothing was changed.")
	b.open("people")
	if text := b.text(); strings.Contains(text, "@eve:") {
		t.Errorf("a forged form was obeyed:\n%s", text)
	}

	// The room is disconnected elsewhere while its page is open.
	b.open("room?id=" + s.room)
	b.shows("Compare the members")
	v := s.again("ada")
	if status, text := v.send("rooms/disconnect", "room", s.room, "sure", "yes"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	b.press("button[value=reconcile]")
	b.shows("This room is not connected with Matrix, or no longer is.")
	b.open("room?id=" + s.room)
	b.shows("This room is not connected with Matrix, or no longer is.")
}

// again returns a second browser in which an administrator is signed in.
func (w *world) again(name string) *visit {
	w.t.Helper()
	v := visitor(w.t, w.front())
	if status, text := v.signIn(name, name); status != http.StatusOK {
		w.t.Fatal(status, text)
	}
	return v
}
