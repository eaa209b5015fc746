package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestTheLogIsHeldBackInABrowser reads the log while it grows: new lines can be held back, each
// shows once, even after the bridge was away, and the page does not grow without bound.
func TestTheLogIsHeldBackInABrowser(t *testing.T) {
	needBrowser(t)
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	w.rc.CreateUser("carol", "user")
	var down atomic.Bool
	var refused atomic.Int64
	front := w.front()
	pages := front.Config.Handler
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			refused.Add(1)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		pages.ServeHTTP(w, r)
	})
	b := openBrowser(t, front.URL)
	b.signIn("ada", "ada")
	b.shows("Everything is connected.")
	b.open("log?level=warn")
	b.shows("No line fits.")
	stranger := visitor(t, w.front())
	happen := func() { stranger.signIn("nobody", "wrong") } // causes a log line
	rows := func() int {
		return eval[int](b, `[...document.querySelectorAll("tbody tr")].filter(r => r.checkVisibility()).length`)
	}
	has := func(want int) {
		t.Helper()
		mxtest.WaitFor(t, fmt.Sprint(want, " lines"), func() bool { return rows() == want })
	}
	happen()
	has(1)
	b.vanishes("No line fits.")
	b.run("hold", chromedp.Click(chromedp.CSS("#pause")))
	stranger.signIn("carol", "carol")
	mxtest.WaitFor(t, "the line to arrive", func() bool { return eval[int](b, `document.querySelectorAll("tbody tr").length`) == 2 })
	if rows() != 1 {
		t.Error("a line shows that is held back")
	}
	b.run("go on", chromedp.Click(chromedp.CSS("#pause")))
	has(2)
	if first := eval[string](b, `[...document.querySelectorAll("tbody tr")].find(r => r.checkVisibility()).innerText`); !strings.Contains(first, "who is not an administrator") {
		t.Errorf("the newest line is not the first:\n%s", b.text())
	}

	// The bridge is unreachable for a while, so that the page opens another stream. No line is
	// missed.
	down.Store(true)
	front.CloseClientConnections()
	b.shows("The bridge does not answer; this page may be out of date.")
	happen()
	mxtest.WaitFor(t, "the browser to give the stream up", func() bool { return refused.Load() > 0 })
	down.Store(false)
	b.vanishes("The bridge does not answer")
	happen()
	has(4)

	// The page stays bounded, however many lines there are.
	eval[string](b, `document.querySelector("tbody:last-of-type").append(...Array.from({length: 600}, () => { const row = document.querySelector("tbody:last-of-type tr").cloneNode(true); row.className = "old"; return row })), ""`)
	happen()
	has(500)
}

// TestAnOpenPageLeavesAloneWhatIsTyped types into a page that updates itself: the input stays.
func TestAnOpenPageLeavesAloneWhatIsTyped(t *testing.T) {
	needBrowser(t)
	s := newStage(t)
	s.rc.CreateUser("ada", "user", "admin")
	s.rc.CreateRoom("p", "shed", "alice", s.bot.Username)
	s.rc.CreateRoom("p", "garden", "alice", s.bot.Username)
	b := openBrowser(t, s.front().URL)
	b.signIn("ada", "ada")
	b.shows("Everything is connected.")
	b.open("rooms")
	b.shows("1 room is connected")
	field := `section[aria-labelledby=link] input[name=matrix]`
	b.run("type", chromedp.SendKeys(chromedp.CSS(field), "#half-an-addr"))
	eval[string](b, `document.activeElement.blur(), window.told = 0, document.querySelector("main").addEventListener("sse:changed", () => told++), ""`)
	v := s.again("ada")
	if status, text := v.send("rooms/connect", "room", "shed", "last", "1"); !strings.Contains(text, "The room is connected") {
		t.Fatal(status, text)
	}
	for deadline := time.Now().Add(30 * time.Second); eval[int](b, `told`) == 0; <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the page is not told that a room was connected")
		}
	}
	eval[string](b, `fetch("/_appliance/static/console.js").then(() => "")`) // wait for one round trip
	if text := eval[string](b, `document.querySelector("`+field+`").value`); text != "#half-an-addr" || strings.Contains(b.text(), "2 rooms") {
		t.Errorf("what was typed is %q now", text)
	}
	eval[string](b, `document.querySelector("`+field+`").value = ""`)
	if status, text := v.send("rooms/connect", "room", "garden", "last", "1"); !strings.Contains(text, "The room is connected") {
		t.Fatal(status, text)
	}
	b.shows("3 rooms are connected") // by itself
}
