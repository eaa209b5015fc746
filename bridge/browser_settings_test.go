package bridge_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// vanishes waits until a text is no longer on the page.
func (b *browser) vanishes(text string) {
	b.t.Helper()
	mxtest.WaitFor(b.t, text+" to vanish", func() bool { return !strings.Contains(b.text(), text) })
}

// put types a value into a field.
func (b *browser) put(id, value string) {
	b.t.Helper()
	eval[string](b, `document.getElementById("`+id+`").value = ""`)
	b.run("write "+id, chromedp.SendKeys(chromedp.CSS(`[id="`+id+`"]`), value))
}

// TestSettingsAndLogInABrowser changes settings and follows the log as an administrator
// does, including what can go wrong.
func TestSettingsAndLogInABrowser(t *testing.T) {
	needBrowser(t)
	w := worldSpec{namespace: "native", home: mxtest.Kind(t), far: mxtest.Dendrite, version: roomVersion(t, mxtest.Kind(t)), noBridge: true}.start(t, &rctest.Server{Polite: true})
	w.often = 500 * time.Millisecond
	w.startBridge()
	ada := w.rc.CreateUser("ada", "user", "admin")
	locked := w.rc.CreateUser("lea", "user", "admin")
	w.call(w.rc.Admin(), http.MethodPost, "users.setActiveStatus", map[string]any{"userId": locked.ID, "activeStatus": false, "confirmRelinquish": true}, nil)
	file := filepath.Join(w.dir, "bridge.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.write("bridge.yaml", "# A remark of the operator.\n"+string(good)+"log_level: info # loud enough\n")

	b := openBrowser(t, w.front().URL)
	b.signIn("lea", "lea")
	b.shows("or the account is locked")
	b.signIn("ada", "ada")
	b.shows("Everything is connected.")
	w.write("host.json", `{"written":"2026-01-02T03:04:05Z","examined":"2026-01-02T03:04:05Z","findings":[{"check":"disk","severity":"fail","summary":"the disk has 2 MB left","why":"little","fix":"free space"},{"check":"images","severity":"ok","summary":"all images are those of the lock"}],"images":{"nginx":"nginx:1"}}`)
	b.shows("What to do: free space") // by itself
	b.accessible("host")

	b.open("settings")
	b.accessible("settings")
	b.put("set.flood.per_person", "many")
	b.press("button[value=review]")
	b.shows("flood.per_person: must be a whole number")
	if typed := eval[string](b, `document.getElementById("set.flood.per_person").value`); typed != "many" {
		t.Errorf("what was typed is %q now", typed)
	}
	b.accessible("settings-invalid")
	b.put("set.flood.per_person", "7")
	b.press("button[value=review]")
	b.shows("What would change in the file")
	b.accessible("settings-review")

	// Another person saves a different setting in the meantime.
	now, _ := os.ReadFile(file)
	w.write("bridge.yaml", strings.Replace(string(now), "log_level: info", "log_level: warn", 1))
	b.press("button[value=save]")
	b.shows("The file has changed since you opened this page.")
	b.accessible("settings-conflict")
	b.press("button[value=save]")
	b.shows("1 setting was changed, and is in force.")
	now, _ = os.ReadFile(file)
	for _, want := range []string{"# A remark of the operator.", "log_level: warn # loud enough", "per_person: 7"} {
		if !strings.Contains(string(now), want) {
			t.Errorf("%q is not in the file\n%s", want, now)
		}
	}

	// The live log: events show within a moment.
	b.open("log?level=warn")
	b.accessible("log")
	w.write("bridge.yaml", string(now)+"colour: red\n")
	b.shows("the configuration was not reloaded: nothing has changed")
	if text := b.text(); strings.Contains(text, "signed in to the console") {
		t.Error("lines of other levels are shown")
	}
	b.open("log?room=no-such-room")
	b.shows("No line fits.")
	w.write("bridge.yaml", string(now))

	// The session ends after something was typed: the input stays on the page.
	b.open("settings")
	b.put("set.flood.per_server", "4711")
	w.age("began")
	b.shows("Your session has ended. Copy what you have typed, and sign in again.")
	if typed := eval[string](b, `document.getElementById("set.flood.per_server").value`); typed != "4711" {
		t.Errorf("what was typed is %q now", typed)
	}
	b.press("button[value=review]")
	b.shows("Your session has ended. Nothing was changed.")

	// A forged form, and a revoked role.
	b.signIn("ada", "ada")
	b.shows("Connected rooms")
	b.open("settings")
	eval[string](b, `document.querySelector("form.settings input[name=token]").value = "forged"`)
	b.put("set.flood.per_server", "4711")
	b.press("button[value=review]")
	b.shows("This form does not belong to your session. Nothing was changed.")
	b.open("queue")
	w.call(w.rc.Admin(), http.MethodPost, "users.update", map[string]any{"userId": ada.ID, "data": map[string]any{"roles": []string{"user"}}}, nil)
	b.shows("Use the name and password of an administrator") // by itself
	b.signIn("ada", "ada")
	b.shows("This account is not an administrator")
	if now, _ := os.ReadFile(file); strings.Contains(string(now), "4711") {
		t.Error("something was changed all the same")
	}
}
