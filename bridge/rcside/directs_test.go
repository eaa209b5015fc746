package rcside_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat/rctest"
)

// A direct room goes on when the token of the account through which it is read has
// ended: while the bridge runs, and while it was down.
func TestADirectRoomGoesOnWhenATokenHasEnded(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	bob := b.puppet("bob")
	room := b.direct(bob)
	b.start()
	say := func(text string) {
		t.Helper()
		b.waitForAll(text, 15*time.Second, []string{"rc:" + b.rc.Say(string(room), "alice", text)})
	}
	say("with the first token")
	b.rc.Logout("bob")
	say("with the second token")
	b.stop()
	b.rc.Logout("bob")
	b.start()
	say("with the third token")
}

// A direct room that a user opens while the bridge is down becomes one with Matrix,
// from the first word on; one among others does not, and nobody asks what is said there.
func TestDirectRoomsOpenedWhileTheBridgeIsDown(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	b.puppet("bob")
	b.rc.CreateUser("carol")
	old := b.rc.CreateDirect("carol", "bob")
	b.rc.Say(old, "carol", "said before there was a bridge")
	b.start()
	b.waitFor("the first look", 15*time.Second, func() bool { return b.accepts > 0 })
	b.stop()
	b.rc.Say(b.rc.CreateDirect("alice", "carol"), "alice", "among ourselves")
	room := b.rc.CreateDirect("alice", "bob")
	b.rc.Say(room, "alice", "the first words")
	b.rc.Say(room, "alice", "and the next")
	b.start()
	b.waitFor("the new direct room", 15*time.Second, func() bool { return len(b.directs()) > 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	found := b.directs()
	if len(found) != 1 || found[0].Room != ids.RCRoom(room) {
		t.Fatalf("handed over: %+v", found)
	}
	if d, first := found[0], b.rc.Said(room)[0]; string(d.Author) != first.User.ID || d.Since.Format("2006-01-02T15:04:05.000Z") != first.Raw["ts"] {
		t.Errorf("%+v does not begin with %+v", d, first)
	}
}

// No text of anybody's stays in Rocket.Chat because of the bridge: it sets up no
// webhook, and removes that of earlier releases. First words to a person on Matrix
// are noticed without it, soon.
func TestNoWebhookKeepsWhatIsSaidInDirectRooms(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	b.puppet("bob")
	admin := b.rc.Admin()
	hook := func(name string) {
		req, _ := http.NewRequest(http.MethodPost, b.rc.URL+"/api/v1/integrations.create", strings.NewReader(fmt.Sprintf(`{"type": "webhook-outgoing", "name": %q,
			"enabled": true, "username": "matrix-bridge", "event": "sendMessage", "channel": "all_direct_messages", "urls": ["http://127.0.0.1:1/"], "token": "t", "scriptEnabled": false}`, name)))
		req.Header = http.Header{"X-User-Id": {admin.ID}, "X-Auth-Token": {admin.Token}, "Content-Type": {"application/json"}}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%v %v", res, err)
		}
		res.Body.Close()
	}
	hook("Matrix bridge: new direct messages")
	hook("of another integration")
	b.start()
	b.rc.WaitUntil(t, "the removal of the webhook", func() bool { return b.rc.Count("POST /api/v1/integrations.remove") > 0 })
	b.waitFor("the first look", 10*time.Second, func() bool { return b.accepts > 0 })
	room := b.rc.CreateDirect("alice", "bob")
	b.rc.Say(room, "alice", "a first word")
	took := b.waitFor("the new direct room", 10*time.Second, func() bool { return len(b.directs()) > 0 })
	t.Logf("noticed after %s", took)
	if n := b.rc.Count("POST /api/v1/integrations.create"); n != 2 {
		t.Errorf("%d webhooks were made, two of them here", n)
	}
	if n := b.rc.Count("POST /api/v1/integrations.remove"); n != 1 {
		t.Errorf("%d webhooks were removed", n)
	}
}
