package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// browser is a Chromium in which an administrator uses the console.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string
	axe  string
}

// refusals records a page's Content-Security-Policy violations.
const refusals = `window.refused = []; addEventListener("securitypolicyviolation", e => refused.push(e.violatedDirective + " " + e.sample + " " + e.sourceFile))`

// needBrowser skips a test, before it starts anything, if Chromium or axe-core is
// missing. Both are installed by compose/stage/setup.sh.
func needBrowser(t *testing.T) (program, axe string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		mustrun.Skip(t, "chromium is not installed: compose/stage/setup.sh does that")
	}
	script, err := os.ReadFile(filepath.Join(os.Getenv("APPLIANCE_AXE"), "node_modules/axe-core/axe.min.js"))
	if err != nil {
		mustrun.Skip(t, "axe-core is not installed: compose/stage/setup.sh does that, and APPLIANCE_AXE says where")
	}
	return program, string(script)
}

// openBrowser starts a Chromium.
func openBrowser(t *testing.T, base string) *browser {
	t.Helper()
	program, axe := needBrowser(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.IgnoreCertErrors, chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1200, 900))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	if _, err := chromedp.Call(ctx, devtools.AddScriptToEvaluateOnNewDocument, devtools.AddScriptToEvaluateOnNewDocumentParams{Source: refusals}); err != nil {
		t.Fatalf("prepare chromium: %v", err)
	}
	ctx, end := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(end)
	return &browser{t, ctx, base, axe}
}

func (b *browser) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

func (b *browser) open(page string) {
	b.t.Helper()
	b.run("open "+page, chromedp.Navigate(b.base+"/_appliance/"+page), chromedp.WaitReady(chromedp.CSS("main")))
}

// eval runs a script in the page and returns its result.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("in the page: %v", err)
	}
	return v
}

// text returns the visible text of the page.
func (b *browser) text() string {
	b.t.Helper()
	return eval[string](b, visibleText)
}

// visibleText is what a script evaluates to get the visible text of a page.
const visibleText = `document.body ? document.body.innerText : ""`

// shows waits until a text appears on the page. A page that goes away while it is read does
// not show it yet.
func (b *browser) shows(want string) {
	b.t.Helper()
	last := ""
	ok := func() bool {
		text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](visibleText, chromedp.EvalAwaitPromise))
		if err != nil && !strings.Contains(err.Error(), "navigated or closed") {
			b.t.Fatalf("in the page: %v", err)
		}
		last = text
		return strings.Contains(last, want)
	}
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page does not show %q:\n%s", want, last)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// listsOne reopens the queue until it lists exactly one dead letter: an open list does
// not change, so that nothing moves under the cursor of a person choosing from it.
func (b *browser) listsOne(page string) {
	b.t.Helper()
	mxtest.WaitFor(b.t, "the page to list one item", func() bool {
		b.open(page)
		return strings.Contains(b.text(), "1 of 1 fit.")
	})
}

func (b *browser) signIn(name, password string) {
	b.t.Helper()
	b.open("sign-in")
	b.run("sign in", chromedp.SendKeys(chromedp.CSS("#username"), name), chromedp.SendKeys(chromedp.CSS("#password"), password+"\r"), chromedp.WaitReady(chromedp.CSS("main")))
}

// press clicks the element that a CSS selector names, and waits for the next page.
func (b *browser) press(selector string) {
	b.t.Helper()
	eval[string](b, `document.body.dataset.old = "yes"`)
	b.run("press "+selector, chromedp.Click(chromedp.CSS(selector)), chromedp.WaitReady(chromedp.CSS(`body:not([data-old]) main`)))
}

// accessible checks the page with axe-core, light and dark, wide and on a phone, where
// it must not scroll sideways.
func (b *browser) accessible(name string) {
	b.t.Helper()
	eval[bool](b, `new Promise(done => document.readyState === "complete" ? done(true) : addEventListener("load", () => done(true)))`)
	if refused := eval[string](b, `refused.join("\n")`); refused != "" {
		b.t.Errorf("%s: the policy of the page has refused:\n%s", name, refused)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1200, 360} {
			if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
				b.t.Fatal(err)
			}
			b.run("width", chromedp.EmulateViewport(width, 800))
			eval[int](b, b.axe+";0")
			found := eval[string](b, `axe.run().then(r => JSON.stringify(r.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 150))])))`)
			over := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
			if found != "[]" {
				b.t.Errorf("%s, %s, %d wide: %s", name, scheme, width, found)
			}
			if over > 0 {
				b.t.Errorf("%s, %d wide: %d pixels too many", name, width, over)
			}
			b.picture(name, scheme, width)
		}
	}
	b.run("as before", chromedp.EmulateViewport(1200, 900))
}

// picture saves a screenshot of the page in the directory that CONSOLE_PICTURES names.
func (b *browser) picture(name, scheme string, width int64) {
	dir := os.Getenv("CONSOLE_PICTURES")
	if dir == "" || scheme == "dark" && width == 360 {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if width == 360 {
		scheme = "phone"
	}
	if err := os.WriteFile(filepath.Join(dir, name+"-"+scheme+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// TestTheConsoleInABrowser uses every page and every action as an administrator does.
func TestTheConsoleInABrowser(t *testing.T) {
	needBrowser(t)
	s := newStageOn(t, &rctest.Server{Polite: true})
	s.rc.CreateUser("ada", "user", "admin")
	s.rc.CreateUser("carol", "user")
	front := s.front()
	b := openBrowser(t, front.URL)
	b.open("queue") // not signed in
	b.shows("Use the name and password of an administrator")
	b.accessible("signin")
	b.signIn("carol", "carol")
	b.shows("This account is not an administrator")
	b.signIn("ada", "wrong")
	b.shows("does not accept this name and password")
	b.signIn("ada", "ada")
	b.shows("Everything is connected.")
	b.shows("0 items")
	if left := eval[string](b, `document.cookie`); left != "" {
		t.Errorf("a script reads the cookie: %s", left)
	}

	// An open page shows events as they happen.
	s.call(s.rc.Admin(), http.MethodPost, "users.setActiveStatus", map[string]any{"userId": s.rc.User(s.puppet)["_id"], "activeStatus": false, "confirmRelinquish": true}, nil)
	s.bob.Send(s.mxRoom, "the first secret words")
	s.bob.Send(s.mxRoom, "the second secret words")
	b.shows("2 items")
	b.accessible("overview")

	b.open("queue")
	b.shows("2 of 2 fit.")
	if text := b.text(); strings.Contains(text, "secret words") || !strings.Contains(text, "account_gone") || !strings.Contains(text, s.mxRoom) {
		t.Errorf("the queue:\n%s", text)
	}
	b.accessible("queue")
	b.press(`button[value=drop]:not([aria-label])`)
	b.shows("No item was chosen.")
	b.open("queue?direction=rc")
	b.shows("0 of 2 fit.")
	b.open("queue")
	b.press(`button[aria-label^="Drop "]`)
	b.shows("1 item was dropped.")
	b.shows("1 of 1 fit.")
	s.call(s.rc.Admin(), http.MethodPost, "users.setActiveStatus", map[string]any{"userId": s.rc.User(s.puppet)["_id"], "activeStatus": true}, nil)
	b.run("tick", chromedp.Click(chromedp.CSS(`input[name=all]`)))
	b.press(`button[value=retry]:not([aria-label])`)
	b.shows("1 item is queued again, last in its room.")
	s.messageText("the second secret words")
	s.oneByFilter(b)

	b.open("rooms")
	b.shows(s.mxRoom)
	b.accessible("rooms")
	b.run("search", chromedp.SendKeys(chromedp.CSS("input[name=q]"), "no such room\r"))
	b.shows("No connected room fits.")
	b.open("rooms?q=" + s.room)
	b.press("tbody a")
	b.shows("Compare the members")
	b.accessible("room")
	b.press("button[value=disconnect]")
	b.shows("Nothing was changed.")
	b.open("room?id=" + s.room)
	b.run("tick", chromedp.Click(chromedp.CSS("input[name=sure]")))
	b.press("button[value=disconnect]")
	b.shows("The room is no longer connected with Matrix.")
	b.shows("No room is connected with Matrix.")
	mxtest.WaitFor(t, "bob's puppet to leave", func() bool { return !strings.Contains(fmt.Sprint(s.rc.Members(s.room)), s.puppet) })
	if log := s.log.String(); !strings.Contains(log, "a room was disconnected in the console") || strings.Count(log, "dead letters were changed in the console") != 4 {
		t.Error("the changes are not in the log")
	}

	b.open("log?room=" + s.room)
	b.shows("a room was disconnected in the console")
	if text := b.text(); strings.Contains(text, "signed in to the console") || strings.Contains(text, "secret words") {
		t.Errorf("the log of one room:\n%s", text)
	}

	// With the keyboard only: the first tab stop skips the navigation, later ones go through it.
	b.open("")
	b.run("tab", chromedp.KeyEvent("\t"))
	if at := eval[string](b, `document.activeElement.textContent`); at != "Skip to the content" {
		t.Errorf("the first stop of the keyboard is %q", at)
	}
	for stops := 0; eval[string](b, `document.activeElement.textContent`) != "Servers"; stops++ {
		if stops > 20 {
			t.Fatal("the keyboard does not reach the navigation")
		}
		b.run("tab", chromedp.KeyEvent("\t"))
	}
	b.run("enter", chromedp.KeyEvent("\r"))
	b.shows("Which servers may take part")

	// The bridge restarts while the page is open.
	b.open("")
	s.stop()
	b.shows("The bridge does not answer; this page may be out of date.")
	s.startBridge()
	b.vanishes("The bridge does not answer")
	b.shows("Everything is connected.")
	b.press("header button")
	b.shows("Use the name and password of an administrator")
}

// oneByFilter retries one item, and drops another one by a filter.
func (s *stage) oneByFilter(b *browser) {
	s.t.Helper()
	activate := func(on bool) {
		s.call(s.rc.Admin(), http.MethodPost, "users.setActiveStatus", map[string]any{"userId": s.rc.User(s.puppet)["_id"], "activeStatus": on, "confirmRelinquish": true}, nil)
	}
	activate(false)
	s.bob.Send(s.mxRoom, "the third secret words")
	b.listsOne("queue")
	activate(true)
	b.press(`button[aria-label^="Retry "]`)
	b.shows("1 item is queued again, last in its room.")
	s.messageText("the third secret words")
	activate(false)
	s.bob.Send(s.mxRoom, "the fourth secret words")
	b.listsOne("queue?reason=account_gone&kind=mx.message")
	b.run("tick", chromedp.Click(chromedp.CSS(`input[name=all]`)))
	b.press(`button[value=drop]:not([aria-label])`)
	b.shows("1 item was dropped.")
	b.shows("0 of 0 fit.")
	activate(true)
}
