package rcside_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

// as returns a client for a user.
func (b *bed) as(username string) *rocketchat.Client {
	b.t.Helper()
	p := b.rc.Login(username)
	return rocketchat.New(b.rc.URL, p.ID, secret.New(p.Token))
}

// ghost makes a person known on Matrix, with their current profile.
func (b *bed) ghost(username string) ids.RCUser {
	b.t.Helper()
	u, ok, err := b.as("matrix-bridge").UserByName(b.t.Context(), username)
	if err != nil || !ok {
		b.t.Fatal(ok, err)
	}
	g := model.Ghost{RCUser: ids.RCUser(u.ID), MXUser: ids.MXUser("@" + username + ":here"), Username: u.Username, Name: u.Name}
	if err := b.store.PutGhost(b.t.Context(), g); err != nil {
		b.t.Fatal(err)
	}
	return g.RCUser
}

// post calls an endpoint as a user.
func (b *bed) post(username, endpoint, body string) {
	b.t.Helper()
	c := b.as(username)
	req, _ := http.NewRequest(http.MethodPost, b.rc.URL+"/api/v1/"+endpoint, strings.NewReader(body))
	req.Header = http.Header{"X-User-Id": {c.UserID()}, "X-Auth-Token": {c.Token().Reveal()}, "Content-Type": {"application/json"}}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		b.t.Fatalf("%s: %s %s", endpoint, res.Status, text)
	}
}

// changes waits until a person is reported as changed.
func (b *bed) changes(what string, user ids.RCUser) {
	b.t.Helper()
	b.waitFor(what, 15*time.Second, func() bool { return slices.Contains(b.people, user) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.people = nil
}

// A new display name shows on Matrix before its owner says anything, although
// Rocket.Chat sends no event for it while it shows usernames.
func TestANewDisplayNameShows(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	b.often = 50 * time.Millisecond
	alice := b.ghost("alice")
	b.start()
	b.rc.WaitUntil(t, "a look at the people", func() bool { return b.rc.Count("GET /api/v1/users.list") > 1 })
	b.rc.SetName("alice", "Alice of Wonderland")
	b.changes("the new name", alice)
}

// A person whose account was deleted while the messages stay leaves on Matrix soon,
// although Rocket.Chat sends no event for that. The same holds for deactivation.
func TestWhoIsDeletedOrDeactivatedIsNoticed(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	b.often = 50 * time.Millisecond
	b.rc.CreateUser("carol")
	b.rc.CreateUser("dave")
	carol, dave := b.ghost("carol"), b.ghost("dave")
	b.rc.Set("Message_ErasureType", "Keep")
	b.start()
	b.rc.WaitUntil(t, "a look at the people", func() bool { return b.rc.Count("GET /api/v1/users.list") > 1 })
	b.post("matrix-bridge", "users.delete", fmt.Sprintf(`{"userId": %q, "confirmRelinquish": true}`, carol))
	b.changes("the deletion", carol)
	b.post("matrix-bridge", "users.setActiveStatus", fmt.Sprintf(`{"userId": %q, "activeStatus": false, "confirmRelinquish": true}`, dave))
	b.changes("the deactivation", dave)
}

// When an account is deleted together with its messages, they go on Matrix too,
// while the session lasts, although Rocket.Chat only reports that the account is
// gone. Where they were meant to stay, they stay.
func TestErasedMessagesAreErasedOnMatrix(t *testing.T) {
	for _, erasure := range []string{"Delete", "Keep", "Unlink"} {
		t.Run(erasure, func(t *testing.T) {
			b := newBed(t, &rctest.Server{Polite: true, Version: "8.3"})
			b.rc.CreateUser("carol")
			room := b.group("plans")
			b.rc.Invite(string(room), "alice", "carol")
			b.rc.Set("Message_ErasureType", erasure)
			b.start()
			id := b.rc.Say(string(room), "carol", "to be forgotten")
			b.waitForAll("the message", 10*time.Second, []string{"rc:" + id})
			carol, _, err := b.as("matrix-bridge").UserByName(t.Context(), "carol")
			if err != nil {
				t.Fatal(err)
			}
			b.post("matrix-bridge", "users.delete", fmt.Sprintf(`{"userId": %q, "confirmRelinquish": true}`, carol.ID))
			gone := model.RCDelete(ids.RCMessage(id))
			if erasure == "Delete" {
				b.waitForAll("the deletion of the message", 10*time.Second, []string{gone})
				return
			}
			b.waitForAll("what is said next", 10*time.Second, []string{"rc:" + b.rc.Say(string(room), "alice", "and now")})
			b.mu.Lock()
			defer b.mu.Unlock()
			if _, deleted := b.items[gone]; deleted {
				t.Error("the message was deleted")
			}
		})
	}
}

// A room's picture is nobody's picture: nothing is requested about anybody.
func TestARoomsPictureAsksNothingAboutPeople(t *testing.T) {
	var asked atomic.Int64
	b := newBed(t, &rctest.Server{Polite: true, OnRequest: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/v1/users.info" && r.URL.Query().Get("userId") == "" && r.URL.Query().Get("username") == "" {
			asked.Add(1)
		}
		return false
	}})
	room := b.group("plans")
	alice := b.ghost("alice")
	b.start()
	said := b.rc.Say(string(room), "alice", "hello")
	b.waitForAll("a message", 10*time.Second, []string{"rc:" + said})
	b.rc.WaitUntil(t, "the subscription to pictures", func() bool {
		return b.rc.Subscribers("stream-notify-logged", "updateAvatar") > 0 && b.rc.Count("GET /api/v1/users.list") > 0
	})
	uri := rocketchat.DataURI("image/png", picture(t))
	if err := b.as("alice").SaveRoom(t.Context(), string(room), rocketchat.RoomChange{Avatar: &uri}); err != nil {
		t.Fatal(err)
	}
	b.setAvatar("alice") // arrives after it
	b.changes("the picture of alice", alice)
	if n := asked.Load(); n != 0 {
		t.Errorf("%d calls ask for nobody", n)
	}
}

func picture(t *testing.T) []byte {
	t.Helper()
	var data bytes.Buffer
	if err := png.Encode(&data, image.NewGray(image.Rect(0, 0, 40, 40))); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

func (b *bed) setAvatar(username string) {
	b.t.Helper()
	data := picture(b.t)
	if err := b.as(username).SetAvatar(b.t.Context(), rocketchat.Media{Name: "a.png", Type: "image/png", Size: int64(len(data)), Body: bytes.NewReader(data)}); err != nil {
		b.t.Fatal(err)
	}
}

// A new picture arrives although the server (8.3) announces it before it stores its etag.
func TestANewPictureThatIsToldOfTooSoonArrives(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true, Version: "8.3"})
	alice := b.ghost("alice")
	b.start()
	b.rc.WaitUntil(t, "the subscription to pictures", func() bool {
		return b.rc.Subscribers("stream-notify-logged", "updateAvatar") > 0 && b.rc.Count("GET /api/v1/users.list") > 0
	})
	b.setAvatar("alice")
	for range 3 {
		b.changes("the picture", alice)
		if is, _, err := b.side.Profile(t.Context(), alice); err != nil {
			t.Fatal(err)
		} else if is.Avatar != "" {
			return
		}
	}
	t.Error("the picture was told of before it was stored, and not again")
}
