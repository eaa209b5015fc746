package bridge_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// get reads a page of the bridge that needs no token.
func (w *world) get(path string) (int, string) {
	w.t.Helper()
	res := w.knock(http.MethodGet, path, "", "")
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// TestEveryMetricIsPublished holds a conversation, with one message that cannot be
// carried, and reads every metric that docs/metrics.md lists.
func TestEveryMetricIsPublished(t *testing.T) {
	t.Parallel()
	w := newStage(t)
	w.rc.Say(w.room, "alice", "hello from here")
	w.findText("hello from here")
	w.bob.Send(w.mxRoom, "hello from there")
	w.messageText("hello from there")
	there, back := picture(70, 50), picture(31, 17)
	w.rc.Upload(w.room, "alice", "harbour.png", "image/png", there, "")
	w.find("the picture", func(_ string, c map[string]any) bool { return c["msgtype"] == "m.image" })
	w.bob.SendEvent(w.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.image", "body": "window.png", "url": w.upload("window.png", "image/png", back), "info": map[string]any{"mimetype": "image/png", "size": len(back)},
	})
	w.withFile("window.png")
	// An account that an administrator has deactivated: bob's next message becomes a dead letter.
	w.call(w.rc.Admin(), http.MethodPost, "users.setActiveStatus", map[string]any{"userId": w.rc.User(w.puppet)["_id"], "activeStatus": false, "confirmRelinquish": true}, nil)
	w.bob.Send(w.mxRoom, "nobody hears this")
	page := ""
	mxtest.WaitFor(t, "the numbers", func() bool {
		_, page = w.get("/metrics")
		return strings.Contains(page, `appliance_bridge_given_up_total{direction="to_rocketchat",reason="account_gone"} 1`)
	})
	for _, want := range []string{
		`appliance_bridge_messages_total{direction="to_matrix",kind="rc.message"} `,
		`appliance_bridge_messages_total{direction="to_rocketchat",kind="mx.message"} `,
		`appliance_bridge_connected{server="matrix"} 1`, `appliance_bridge_connected{server="rocketchat"} 1`,
		`appliance_bridge_dead_letters_by_reason{direction="to_rocketchat",reason="account_gone"} 1`,
		`appliance_bridge_dead_letters 1`, `appliance_bridge_items_buried 1`,
		`appliance_bridge_portals 1`, `appliance_bridge_puppets 1`, `appliance_bridge_enabled 1`, `appliance_bridge_database_up 1`,
		`appliance_bridge_requests_total{endpoint="chat.sendMessage",result="ok",server="rocketchat"}`,
		`appliance_bridge_requests_total{endpoint="rooms/_/send/_/_",result="ok",server="matrix"}`,
		`appliance_bridge_build_info{goversion="go`,
	} {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if n := published(t, page, `appliance_bridge_media_bytes_total{direction="to_matrix"}`); n < len(there) || n > len(there)+100 {
		t.Errorf("%d bytes of files went to Matrix, which got a picture of %d", n, len(there))
	}
	if n := published(t, page, `appliance_bridge_media_bytes_total{direction="to_rocketchat"}`); n < len(back) || n > len(back)+1000 { // a form around it
		t.Errorf("%d bytes of files went to Rocket.Chat, which got a picture of %d", n, len(back))
	}
	doc, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := regexp.MustCompile("(?m)^\\| `(appliance_[a-z_]+)` \\| ([a-z]+)").FindAllStringSubmatch(string(doc), -1)
	if len(listed) < 25 {
		t.Fatalf("the manual lists %d metrics", len(listed))
	}
	for _, m := range listed {
		if !strings.Contains(page, "\n# TYPE "+m[1]+" "+m[2]+"\n") {
			t.Errorf("%s %s is listed and not published", m[2], m[1])
		}
	}
	for name := range strings.Lines(page) {
		if f := strings.Fields(name); len(f) == 4 && f[1] == "TYPE" && strings.HasPrefix(f[2], "appliance_") && !strings.Contains(string(doc), "`"+f[2]+"`") {
			t.Errorf("%s is published and not listed", f[2])
		}
	}
	for _, private := range []string{"hello", w.room, w.mxRoom, "bob", "alice"} {
		if strings.Contains(page, private) {
			t.Errorf("the numbers name %q", private)
		}
	}
}

// published returns the value of a metric on the page.
func published(t *testing.T, page, name string) int {
	t.Helper()
	_, after, _ := strings.Cut(page, "\n"+name+" ")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseFloat(line, 64)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return int(n)
}

// The bridge's first page lists its other pages, and they exist.
func TestTheFirstPageLeadsToTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	code, page := w.get("/")
	paths := regexp.MustCompile(`(?m)^/\S+`).FindAllString(page, -1)
	if code != http.StatusOK || len(paths) < 4 {
		t.Fatalf("%d %s", code, page)
	}
	for _, path := range paths {
		if code, _ := w.get(path); code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := w.get("/nosuch"); code != http.StatusNotFound {
		t.Errorf("what does not exist answers %d", code)
	}
}

// TestReadyzNamesThePart stops Rocket.Chat, and /readyz names it as the part that is missing.
func TestReadyzNamesThePart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	if code, text := w.get("/readyz"); code != http.StatusOK || text != "[+]database ok\n[+]rocketchat ok\n[+]matrix ok\n" {
		t.Fatalf("%d %s", code, text)
	}
	w.rc.Stop()
	mxtest.WaitFor(t, "the bridge to notice", func() bool {
		code, text := w.get("/readyz")
		return code == http.StatusServiceUnavailable && text == "[+]database ok\n[-]rocketchat not connected\n[+]matrix ok\n"
	})
	if code, text := w.get("/livez"); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	// A cluster probes whether the bridge can store what it receives.
	if code, text := w.get("/readyz?exclude=rocketchat&exclude=matrix"); code != http.StatusOK || text != "[+]database ok\n" {
		t.Errorf("without the servers: %d %s", code, text)
	}
	if _, page := w.get("/metrics"); !strings.Contains(page, `appliance_bridge_connected{server="rocketchat"} 0`) {
		t.Error("the numbers say that Rocket.Chat answers")
	}
	mxtest.WaitFor(t, "an attempt to connect again", func() bool {
		_, page := w.get("/metrics")
		return !strings.Contains(page, `appliance_bridge_reconnects_total{server="rocketchat"} 0`)
	})
}
