package rocketchat_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

func TestARoomIsChangedAsAWhole(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.group(p)
	name, topic, on := w.Name("renamed"), "where to go", true
	for range 2 { // the same again changes nothing
		w.ok(p.SaveRoom(t.Context(), r.ID, rocketchat.RoomChange{Name: &name, Topic: &topic, ReadOnly: &on}))
	}
	got, ok, err := p.RoomByID(t.Context(), r.ID)
	w.ok(err)
	if !ok || got.Name != name || got.Topic != topic || !got.ReadOnly {
		t.Errorf("got %+v", got)
	}
	notes := 0
	for _, m := range w.history(p, r.ID) {
		if m.Type == "room_changed_topic" {
			notes++
		}
	}
	equal(t, notes, 1, "notes of the topic")
	w.ok(p.Invite(t.Context(), r.Type, r.ID, w.admin.UserID()))
	w.ok(w.admin.Archive(t.Context(), r.ID, true))
	got, err = w.admin.AdminRoom(t.Context(), r.ID)
	w.ok(err)
	equal(t, got.Archived, true, "archived, as an administrator sees it")
	got, _, err = p.RoomByID(t.Context(), r.ID)
	if err != nil && w.Expect(t).ArchivedIsHidden {
		w.refused(err, http.StatusBadRequest, "error-room-archived")
	} else if w.ok(err); !got.Archived {
		t.Errorf("it is not archived: %+v", got)
	}
	w.ok(w.admin.Archive(t.Context(), r.ID, false))
	stranger := w.puppet()
	w.refused(stranger.SaveRoom(t.Context(), r.ID, rocketchat.RoomChange{Topic: &topic}), http.StatusBadRequest)
}

func TestRolesOfARoom(t *testing.T) {
	w := begin(t)
	owner, helper := w.puppet(), w.puppet()
	r := w.group(owner, helper)
	w.ok(owner.AddModerator(t.Context(), r.Type, r.ID, helper.ID))
	roles, err := owner.RoomRoles(t.Context(), r.Type, r.ID)
	w.ok(err)
	got := map[string][]string{}
	for _, who := range roles {
		got[who.User.ID] = who.Roles
	}
	if !slices.Contains(got[owner.ID], "owner") || !slices.Contains(got[helper.ID], "moderator") {
		t.Errorf("roles %v", got)
	}
}

func TestHistoryIsInOrderAndComplete(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.group(p)
	const n = 130 // more than a page
	for i := range n {
		w.say(p, r.ID, fmt.Sprint("message ", i))
	}
	texts := func(last int, since time.Time) (l []string, all []rocketchat.Message) {
		all, err := p.History(t.Context(), r.Type, r.ID, last, since)
		w.ok(err)
		for _, m := range all {
			if m.Type == "" {
				l = append(l, m.Text)
			}
		}
		return l, all
	}
	got, all := texts(1000, time.Time{})
	if len(got) != n || got[0] != "message 0" || got[n-1] != fmt.Sprint("message ", n-1) {
		t.Errorf("%d messages, %q", len(got), got)
	}
	if !slices.IsSortedFunc(all, func(a, b rocketchat.Message) int { return a.Time.Compare(b.Time.Time) }) {
		t.Error("out of order")
	}
	if got, _ := texts(3, time.Time{}); !slices.Equal(got, []string{"message 127", "message 128", "message 129"}) {
		t.Errorf("the last three: %q", got)
	}
	since := all[len(all)-2].Time.Time
	first := slices.IndexFunc(all, func(m rocketchat.Message) bool { return !m.Time.Before(since) && m.Type == "" })
	if got, _ := texts(1000, since); len(got) != len(all)-first || got[0] != all[first].Text || got[len(got)-1] != "message 129" {
		t.Errorf("since the one before the last: %q", got)
	}
}

// What Rocket.Chat recorded of a webhook's calls is deleted with the webhook.
func TestWebhooksAreListedAndRemoved(t *testing.T) {
	w := begin(t)
	me, err := w.admin.Me(t.Context())
	w.ok(err)
	name := w.Name("hook")
	w.asAdmin(http.MethodPost, "integrations.create", fmt.Sprintf(`{"type": "webhook-outgoing", "name": %q, "enabled": true,
		"username": %q, "event": "sendMessage", "channel": "all_direct_messages", "urls": ["http://127.0.0.1:1/hook"], "token": "token", "scriptEnabled": false}`, name, me.Username))
	mine := func() []rocketchat.Webhook {
		all, err := w.admin.Webhooks(t.Context())
		w.ok(err)
		return slices.DeleteFunc(all, func(h rocketchat.Webhook) bool { return h.Name != name })
	}
	got := mine()
	if len(got) != 1 || got[0].ID == "" {
		t.Fatalf("webhooks %+v", got)
	}
	a, b := w.puppet(), w.puppet()
	r, err := a.CreateDirect(t.Context(), b.Username)
	w.ok(err)
	w.say(a, r.ID, "between the two of us")
	kept := func() bool {
		return strings.Contains(w.asAdmin(http.MethodGet, "integrations.history?id="+url.QueryEscape(got[0].ID), ""), "between the two of us")
	}
	for deadline := time.Now().Add(20 * time.Second); !kept(); { // it is recorded after the message is
		if time.Now().After(deadline) {
			t.Fatal("the server has kept nothing: there is nothing to see here")
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	w.refused(w.puppet().RemoveWebhook(t.Context(), got[0].ID), http.StatusForbidden)
	w.ok(w.admin.RemoveWebhook(t.Context(), got[0].ID))
	if got := mine(); len(got) != 0 {
		t.Errorf("webhooks %+v", got)
	}
	if kept() {
		t.Error("the history is still there")
	}
}

// asAdmin calls an endpoint that the client does not support, and returns the response.
func (w world) asAdmin(method, path, body string) string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+"/api/v1/"+path, strings.NewReader(body))
	w.ok(err)
	req.Header = http.Header{"X-User-Id": {w.admin.UserID()}, "X-Auth-Token": {w.admin.Token().Reveal()}, "Content-Type": {"application/json"}}
	res, err := http.DefaultClient.Do(req)
	w.ok(err)
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	w.ok(err)
	equal(w.t, res.StatusCode, http.StatusOK, method+" "+path)
	return string(answer)
}

func TestAnAdministratorSeesWhoIsInADirectRoom(t *testing.T) {
	w := begin(t)
	a, b := w.puppet(), w.puppet()
	r, err := a.CreateDirect(t.Context(), b.Username)
	w.ok(err)
	w.say(a, r.ID, "psst")
	got, err := w.admin.AdminRoom(t.Context(), r.ID)
	w.ok(err)
	equal(t, sorted(got.Usernames...), sorted(a.Username, b.Username), "usernames")
	found := false
	w.ok(w.admin.AdminDirects(t.Context(), false, func(rooms []rocketchat.Room) (bool, error) {
		for _, room := range rooms {
			if room.ID == r.ID {
				found = room.Type == rocketchat.Direct && len(room.Usernames) == 2 && room.Messages == 1
			}
		}
		return true, nil
	}))
	equal(t, found, true, "found among the direct rooms")
	newest := ""
	w.ok(w.admin.AdminDirects(t.Context(), true, func(rooms []rocketchat.Room) (bool, error) {
		newest = rooms[0].ID
		return false, nil
	}))
	if os.Getenv("ROCKETCHAT_URL") == "" { // others talk on a real server
		equal(t, newest, r.ID, "the room in which something was said last")
	}
	_, err = a.AdminRoom(t.Context(), r.ID)
	if rocketchat.Status(err)/100 != 4 {
		t.Errorf("another user: %v", err)
	}
}

func TestReadingIsCounted(t *testing.T) {
	w := begin(t)
	a, b := w.puppet(), w.puppet()
	r := w.group(a, b)
	w.ok(a.Invite(t.Context(), r.Type, r.ID, w.admin.UserID()))
	w.say(a, r.ID, "read this")
	before, err := w.admin.Counters(t.Context(), r.Type, r.ID, b.ID)
	w.ok(err)
	for now := time.Now(); time.Since(now) < 2*time.Millisecond; { // the server counts in milliseconds
	}
	w.ok(b.MarkRead(t.Context(), r.ID))
	after, err := w.admin.Counters(t.Context(), r.Type, r.ID, b.ID)
	w.ok(err)
	if !after.ReadUntil.After(before.ReadUntil.Time) || after.Latest.IsZero() {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestPicturesOfPeople(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	data := aPicture(t)
	picture := rocketchat.Media{Name: "a.png", Type: "image/png", Size: int64(len(data)), Body: bytes.NewReader(data)}
	w.ok(p.SetAvatar(t.Context(), picture))
	got, err := other.Avatar(t.Context(), p.Username, 1<<20)
	w.ok(err)
	if len(got) == 0 {
		t.Error("no picture")
	}
	if _, err := other.Avatar(t.Context(), p.Username, 1); !errors.Is(err, rocketchat.ErrTooLarge) {
		t.Errorf("one byte: %v", err)
	}
	if _, err := other.As(other.UserID(), secret.New("no token")).Avatar(t.Context(), p.Username, 1<<20); err == nil {
		t.Error("a refused token shows a picture")
	}
	w.ok(p.ResetAvatar(t.Context()))
	if data, err := other.Avatar(t.Context(), p.Username, 1<<20); !errors.Is(err, rocketchat.ErrNoPicture) {
		t.Errorf("no picture: %d bytes, %v", len(data), err)
	}
	w.ok(p.SetStatus(t.Context(), "away"))
}

func TestEverybodyIsListed(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	found := 0
	w.ok(w.admin.Users(t.Context(), func(users []rocketchat.User) error {
		for _, u := range users {
			if u.ID == p.ID && u.Username == p.Username && u.Name == "Person "+p.Username && u.Active {
				found++
			}
		}
		return nil
	}))
	equal(t, found, 1, "found on the list of people")
}
