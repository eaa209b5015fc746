package rcside_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
)

// A direct room goes on when the token of the account through which it is read
// becomes invalid, both while the bridge runs and while it is down.
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

// An account that is gone when its token is refused ends a session, not the bridge.
func TestAnAccountThatEndsWithItsToken(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	bob := b.puppet("bob")
	b.direct(bob)
	b.rc.Logout("bob")
	b.over = &forgetful{Store: b.store}
	b.start()
	b.waitFor("the session to end", 15*time.Second, func() bool { return strings.Contains(b.log.String(), "the account of "+string(bob.MXUser)) })
	b.rc.CreateUser("carol")
	room := b.rc.CreateRoom("p", "crew", "carol", b.rc.Bot().Username)
	b.portal(model.Portal{RCRoom: ids.RCRoom(room), MXRoom: "!crew:x", RCType: "p"})
	b.side.Watch(model.Portal{RCRoom: ids.RCRoom(room), MXRoom: "!crew:x", RCType: "p"})
	b.waitForAll("what is said elsewhere", 15*time.Second, []string{"rc:" + b.rc.Say(room, "carol", "still here")})
}

// forgetful is a store in which a puppet is found once and then is gone.
type forgetful struct {
	relay.Store
	asked atomic.Int32
}

func (f *forgetful) PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error) {
	if f.asked.Add(1) > 1 {
		return model.Puppet{}, false, nil
	}
	return f.Store.PuppetByMX(ctx, user)
}

// A direct room that a user opens while the bridge is down is connected to Matrix, from
// its first message on; one between others is not, and nobody reads what is said there.
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

// The bridge makes Rocket.Chat keep nobody's texts: it sets up no webhook, and
// removes that of earlier releases with all the texts that Rocket.Chat has kept for
// it. First messages to a person on Matrix are noticed soon without it.
func TestNoWebhookKeepsWhatIsSaidInDirectRooms(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	b.puppet("bob")
	ours, others := b.hook("Matrix bridge: new direct messages"), b.hook("of another integration")
	b.rc.CreateUser("carol")
	b.rc.Say(b.rc.CreateDirect("alice", "carol"), "alice", "between us")
	for _, id := range []string{ours, others} {
		b.rc.WaitUntil(t, "the webhook to keep a text", func() bool { return slices.Contains(b.kept(id), "between us") })
	}
	b.start()
	b.rc.WaitUntil(t, "the history of the earlier release to be gone", func() bool { return len(b.kept(ours)) == 0 })
	if !slices.Contains(b.kept(others), "between us") {
		t.Error("the history of another integration is gone too")
	}
	b.waitFor("the first look", 10*time.Second, func() bool { return b.accepts > 0 })
	room := b.rc.CreateDirect("alice", "bob")
	b.rc.Say(room, "alice", "a first word")
	took := b.waitFor("the new direct room", 10*time.Second, func() bool { return len(b.directs()) > 0 })
	t.Logf("noticed after %s", took)
	if kept := b.kept(ours); len(kept) > 0 {
		t.Errorf("kept since: %q", kept)
	}
	if n := b.rc.Count("POST /api/v1/integrations.create"); n != 2 {
		t.Errorf("%d webhooks were made, two of them here", n)
	}
	if n := b.rc.Count("POST /api/v1/integrations.remove"); n != 1 {
		t.Errorf("%d webhooks were removed", n)
	}
}

// If the bridge may not remove the webhook, the operator is told once what to do,
// and the list is not requested on every look.
func TestTheOperatorIsToldOfAWebhookThatStays(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	b.hook("Matrix bridge: new direct messages")
	b.rc.FailNext("GET /api/v1/integrations.list", http.StatusForbidden, "User does not have the permissions required for this action")
	b.start()
	looked := b.rc.Count("GET /api/v1/rooms.adminRooms")
	b.rc.WaitUntil(t, "three looks", func() bool { return b.rc.Count("GET /api/v1/rooms.adminRooms") >= looked+3 })
	if n := b.rc.Count("GET /api/v1/integrations.list"); n != 1 {
		t.Errorf("the list was asked for %d times", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if log := b.log.String(); strings.Count(log, "may still keep the text of direct messages") != 1 || !strings.Contains(log, "Administration, Integrations") {
		t.Errorf("the log says: %s", log)
	}
}

// hook creates a webhook that covers all direct messages and returns its ID.
func (b *bed) hook(name string) string {
	b.t.Helper()
	var out struct {
		Integration struct {
			ID string `json:"_id"`
		} `json:"integration"`
	}
	b.asAdmin(http.MethodPost, "integrations.create", map[string]any{"type": "webhook-outgoing", "name": name, "enabled": true, "username": "matrix-bridge",
		"event": "sendMessage", "channel": "all_direct_messages", "urls": []string{"http://127.0.0.1:1/"}, "token": "t", "scriptEnabled": false}, &out)
	return out.Integration.ID
}

// kept returns the texts in the history of a webhook.
func (b *bed) kept(hook string) (texts []string) {
	b.t.Helper()
	var out struct {
		History []struct {
			Data struct {
				Text string `json:"text"`
			} `json:"data"`
		} `json:"history"`
	}
	b.asAdmin(http.MethodGet, "integrations.history?id="+url.QueryEscape(hook), nil, &out)
	for _, h := range out.History {
		texts = append(texts, h.Data.Text)
	}
	return texts
}

// asAdmin calls an endpoint as the administrator.
func (b *bed) asAdmin(method, path string, body, out any) {
	b.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.rc.URL+"/api/v1/"+path, bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	if body == nil {
		req.Body, req.ContentLength = nil, 0
	}
	admin := b.rc.Admin()
	req.Header = http.Header{"X-User-Id": {admin.ID}, "X-Auth-Token": {admin.Token}, "Content-Type": {"application/json"}}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil || res.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %d, %v", method, path, res.StatusCode, err)
	}
}
