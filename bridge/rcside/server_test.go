package rcside_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
)

// A workspace becomes read-only: messages wait, and the operator is told once what
// that means, and once that it is over.
func TestAReadOnlyWorkspaceIsExplained(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	room, bob := b.group("plans"), b.puppet("bob")
	b.rc.Invite(string(room), "alice", "bob")
	b.start()
	b.rc.Restrict(true)
	for _, id := range []string{"one", "two"} {
		if err := b.side.Send(t.Context(), bob, room, ids.RCMessage("m-"+id), "", "hello"); !errors.Is(err, model.ErrUnavailable) {
			t.Errorf("a message that has to wait: %v", err)
		}
	}
	if why := b.side.Problem(); !strings.Contains(why, "no licence") || !strings.Contains(why, "collector.rocket.chat") {
		t.Errorf("the operator is told %q", why)
	}
	b.rc.Restrict(false)
	if err := b.side.Send(t.Context(), bob, room, "m-one", "", "hello"); err != nil {
		t.Error(err)
	}
	if why := b.side.Problem(); why != "" {
		t.Errorf("the operator is still told %q", why)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := strings.Count(b.log.String(), "read-only"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	if !strings.Contains(b.log.String(), "accepts messages again") {
		t.Error("it was not logged that it is over")
	}
}

// A link that leads outside the uploads is refused for good, and no request is made for
// it: one that is only unavailable would be retried for ever.
func TestALinkThatLeavesTheUploadsIsRefused(t *testing.T) {
	var asked atomic.Int32
	b := newBed(t, &rctest.Server{Polite: true, OnRequest: func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/file-upload") || strings.HasSuffix(r.URL.Path, "/api/v1/me") {
			asked.Add(1)
		}
		return false
	}})
	room := b.group("plans")
	b.start()
	before := asked.Load()
	for _, link := range []string{"/file-upload/..%2f..%2fapi/v1/me", "/file-upload/../api/v1/me", "/api/v1/me", "http://evil.example/file"} {
		media, err := b.side.Open(t.Context(), model.Portal{RCRoom: room, RCType: "p"}, link, 1000)
		if err == nil {
			_ = media.Body.Close()
		}
		if !errors.Is(err, model.ErrRefused) || errors.Is(err, model.ErrUnavailable) {
			t.Errorf("%s: %v, want it refused", link, err)
		}
	}
	if n := asked.Load() - before; n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

// A server of an unknown newer version is used, and so is one that was downgraded;
// either is reported.
func TestNewerAndOlderServersAreUsed(t *testing.T) {
	var version atomic.Value
	version.Store("9.3.1")
	b := newBed(t, &rctest.Server{Polite: true, OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/info" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version": "`+version.Load().(string)+`", "somethingNew": {"of": [1, null, "kind"]}, "success": true}`)
		return true
	}})
	room := b.group("plans")
	b.start()
	say := func(text string) {
		t.Helper()
		b.waitForAll(text, 10*time.Second, []string{"rc:" + b.rc.Say(string(room), "alice", text)})
	}
	say("to a new server")
	b.waitFor("a word about the new version", 10*time.Second, func() bool { return strings.Contains(b.log.String(), "newer than the versions") })
	version.Store("8.5.0")
	b.rc.DropConnections()
	b.waitFor("a word about the old version", 15*time.Second, func() bool { return strings.Contains(b.log.String(), "replaced by an older version") })
	say("to an old server")
}
