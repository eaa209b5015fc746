package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestActionsOnRoomsInABrowser connects a room with its history, links two rooms, compares
// their members and disconnects them, as an administrator does.
func TestActionsOnRoomsInABrowser(t *testing.T) {
	needBrowser(t)
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	w.rc.CreateUser("alice", "user")
	plans := w.rc.CreateRoom("p", "plans", "alice", w.bot.Username)
	w.rc.Say(plans, "alice", "words of the past")
	garden := w.rc.CreateRoom("p", "garden", "alice", w.bot.Username)
	bob := w.far.Register("bob", "Bob Builder")
	var made struct {
		RoomID string `json:"room_id"`
	}
	bob.Must(http.MethodPost, "/_matrix/client/v3/createRoom", map[string]any{"preset": "public_chat", "room_alias_name": "garden", "name": "Garden"}, &made)
	alias := "#garden:" + w.far.Name

	b := openBrowser(t, w.front().URL)
	b.signIn("ada", "ada")
	b.shows("Everything is connected.")
	b.open("rooms")
	b.shows("No room is connected with Matrix.")
	fill := func(form, field, value string) {
		t.Helper()
		at := `section[aria-labelledby=` + form + `] input[name=` + field + `]`
		eval[string](b, `document.querySelector("`+at+`").value = ""`)
		b.run("fill in "+field, chromedp.SendKeys(chromedp.CSS(at), value))
	}
	submit := func(form string) {
		t.Helper()
		b.press(`section[aria-labelledby=` + form + `] button`)
	}

	// Connect a room with its history.
	fill("connect", "room", "no-such-room")
	submit("connect")
	b.shows("the bridge cannot see this room")
	b.open("rooms")
	fill("connect", "room", "plans")
	fill("connect", "last", "5")
	submit("connect")
	b.shows("The room is connected with Matrix, and ")
	b.shows("of its messages and reactions are being carried there.")
	mxtest.WaitFor(t, "the past to be carried", func() bool {
		b.open("room?id=" + plans)
		text := b.text()
		if strings.Contains(text, "words of the past") {
			t.Fatalf("what was said is shown:\n%s", text)
		}
		return strings.Count(text, "up to date") == 2 && strings.Contains(text, w.alice())
	})
	b.open("rooms")
	b.shows("1 room is connected")
	b.shows("plans")
	fill("connect", "room", "plans")
	submit("connect")
	b.shows("is already connected with Matrix")

	// Link two existing rooms.
	b.open("rooms")
	fill("link", "room", "garden")
	fill("link", "matrix", alias)
	submit("link")
	b.shows("Nothing was changed. Name both rooms, and tick the box beside the button")
	b.open("rooms")
	fill("link", "room", "garden")
	fill("link", "matrix", alias)
	b.run("tick", chromedp.Click(chromedp.CSS(`section[aria-labelledby=link] input[name=sure]`)))
	submit("link")
	b.shows("The two rooms are connected. The people of each are joining the other")
	b.shows(made.RoomID)
	w.waitForGhost(bob, made.RoomID, w.alice())
	mxtest.WaitFor(t, "the people of both rooms on the page", func() bool {
		b.open("room?id=" + garden)
		text := b.text()
		return strings.Contains(text, "bob_") && strings.Contains(text, w.alice()) && strings.Contains(text, bob.ID)
	})
	b.accessible("room-linked")

	// Compare members: one is missing on Matrix, and the bridge was not notified.
	w.asService(w.alice(), "/rooms/"+made.RoomID+"/leave", map[string]any{})
	mxtest.WaitFor(t, "alice to be out", func() bool { return bob.Members(made.RoomID)[w.alice()] == "leave" })
	b.open("room?id=" + garden)
	if text := b.text(); strings.Contains(text, w.alice()) {
		t.Errorf("alice is listed on Matrix, where she is not:\n%s", text)
	}
	b.press("button[value=reconcile]")
	b.shows("1 difference between the members was corrected.")
	b.shows(w.alice())
	b.press("button[value=reconcile]")
	b.shows("The members were compared; nothing had to be corrected.")

	// Disconnect the room.
	b.press("button[value=disconnect]")
	b.shows("Nothing was changed. Tick the box beside the button")
	b.open("room?id=" + garden)
	b.run("tick", chromedp.Click(chromedp.CSS("input[name=sure]")))
	b.press("button[value=disconnect]")
	b.shows("The room is no longer connected with Matrix. What was said stays on both sides.")
	b.shows("1 room is connected")
	if text := b.text(); strings.Contains(text, "garden") || !strings.Contains(text, "plans") {
		t.Errorf("the rooms after one was disconnected:\n%s", text)
	}
	mxtest.WaitFor(t, "the people of either room to leave the other", func() bool {
		return !strings.Contains(fmt.Sprint(w.rc.Members(garden)), "bob_") && bob.Members(made.RoomID)[w.alice()] == "leave"
	})
}
