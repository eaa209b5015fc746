package rocketchat_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat"
)

func TestCreateRooms(t *testing.T) {
	w := begin(t)
	p, other, plain := w.puppet(), w.puppet(), w.Person(t, "guest")
	for kind, create := range map[string]func(rocketchat.Client, string, []string) (rocketchat.Room, error){
		rocketchat.Channel: func(c rocketchat.Client, name string, members []string) (rocketchat.Room, error) {
			return c.CreateChannel(t.Context(), name, members)
		},
		rocketchat.Group: func(c rocketchat.Client, name string, members []string) (rocketchat.Room, error) {
			return c.CreateGroup(t.Context(), name, members)
		},
	} {
		name := w.Name("room")
		r, err := create(*p.Client, name, []string{other.Username, w.Name("nobody")}) // omits unknown users
		w.ok(err)
		if r.Type != kind || r.Name != name || r.Title() != name {
			t.Errorf("got %+v", r)
		}
		equal(t, w.members(p, r), sorted(p.Username, other.Username), "members")
		_, err = create(*p.Client, name, nil)
		w.refused(err, http.StatusBadRequest, "error-duplicate-channel-name")
		_, err = create(*p.Client, "not a slug!", nil)
		w.refused(err, http.StatusBadRequest, "error-invalid-room-name")
		_, err = create(*as(w.Subject, plain), w.Name("room"), nil) // each kind of room has a refusal of its own
		if s := rocketchat.Status(err); s != http.StatusForbidden && !rocketchat.Says(err, "error-not-allowed") {
			t.Errorf("without the permission: %v", err)
		}

		for what, find := range map[string]func() (rocketchat.Room, bool, error){
			"by id":   func() (rocketchat.Room, bool, error) { return p.RoomByID(t.Context(), r.ID) },
			"by name": func() (rocketchat.Room, bool, error) { return p.RoomByName(t.Context(), name) },
		} {
			found, ok, err := find()
			w.ok(err)
			if !ok || found.ID != r.ID || found.Type != kind || found.Owner == nil || found.Owner.ID != p.ID {
				t.Errorf("%s: %v %+v", what, ok, found)
			}
		}
	}
}

func TestChannels(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	public, private := w.channel(p), w.group(p)
	seen := map[string]string{}
	w.ok(w.admin.Channels(t.Context(), func(rooms []rocketchat.Room) bool {
		for _, r := range rooms {
			seen[r.ID] = r.Name
		}
		return true
	}))
	equal(t, seen[public.ID], public.Name, "the channel's name")
	if _, ok := seen[private.ID]; ok {
		t.Error("a private group is among the public channels")
	}
	pages := 0
	w.ok(w.admin.Channels(t.Context(), func([]rocketchat.Room) bool { pages++; return false }))
	equal(t, pages, 1, "pages after the last that was wanted")
}

func sorted(l ...string) []string { slices.Sort(l); return l }

func (w world) members(p person, r rocketchat.Room) []string {
	w.t.Helper()
	ms, err := p.Members(w.t.Context(), r.Type, r.ID)
	w.ok(err)
	var names []string
	for _, m := range ms {
		if m.ID == "" {
			w.t.Errorf("a member without an id: %+v", m)
		}
		names = append(names, m.Username)
	}
	return sorted(names...)
}

func TestAnUnknownRoomIsNoErrorAndAPrivateOneIsARefusal(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	for _, c := range []*rocketchat.Client{p.Client, w.admin} {
		_, ok, err := c.RoomByID(t.Context(), w.Name("room"))
		w.ok(err)
		_, ok2, err := c.RoomByName(t.Context(), w.Name("room"))
		w.ok(err)
		if ok || ok2 {
			t.Error("something was found")
		}
	}
	private := w.group(p)
	for _, c := range []*rocketchat.Client{w.puppet().Client, w.admin} { // administrators see no more
		_, ok, err := c.RoomByID(t.Context(), private.ID)
		if ok {
			t.Error("it was shown")
		}
		w.refused(err, http.StatusBadRequest)
	}
}

func TestSubscriptions(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.group(p, other)
	s, ok, err := p.Subscription(t.Context(), r.ID)
	w.ok(err)
	if !ok || s.RoomID != r.ID || s.Type != rocketchat.Group || !slices.Contains(s.Roles, "owner") {
		t.Errorf("got %v %+v", ok, s)
	}
	for _, rid := range []string{r.ID, w.Name("room")} {
		if _, ok, err := w.puppet().Subscription(t.Context(), rid); ok || err != nil {
			t.Errorf("another user's: %v %v", ok, err)
		}
	}
	all, err := other.Subscriptions(t.Context())
	w.ok(err)
	if !slices.ContainsFunc(all, func(s rocketchat.Subscription) bool { return s.RoomID == r.ID }) {
		t.Errorf("got %+v", all)
	}
}

func TestCreateDirect(t *testing.T) {
	w := begin(t)
	a, b, c := w.puppet(), w.puppet(), w.puppet()
	first, err := a.CreateDirect(t.Context(), b.Username)
	w.ok(err)
	second, err := a.CreateDirect(t.Context(), b.Username)
	w.ok(err)
	back, err := b.CreateDirect(t.Context(), a.Username)
	w.ok(err)
	if first.ID == "" || first.ID != second.ID || first.ID != back.ID {
		t.Errorf("three calls, rooms %q, %q and %q", first.ID, second.ID, back.ID)
	}
	found, ok, err := a.RoomByID(t.Context(), first.ID)
	w.ok(err)
	if !ok || found.Type != rocketchat.Direct || !slices.Equal(sorted(found.UIDs...), sorted(a.ID, b.ID)) {
		t.Errorf("got %+v", found)
	}
	three, err := a.CreateDirect(t.Context(), b.Username, c.Username)
	w.ok(err)
	again, err := c.CreateDirect(t.Context(), a.Username, b.Username)
	w.ok(err)
	if three.ID == first.ID || three.ID != again.ID {
		t.Errorf("rooms of three %q and %q", three.ID, again.ID)
	}
	equal(t, w.members(a, rocketchat.Room{ID: three.ID, Type: rocketchat.Direct}), sorted(a.Username, b.Username, c.Username), "members")
	none, err := a.CreateDirect(t.Context(), w.Name("nobody"))
	if !w.Expect(t).StrangerIsOneself {
		w.refused(err, http.StatusBadRequest)
		return
	}
	w.ok(err)
	equal(t, w.members(a, rocketchat.Room{ID: none.ID, Type: rocketchat.Direct}), []string{a.Username}, "members of a room with nobody")
}

func TestInvite(t *testing.T) {
	w := begin(t)
	p, other, third := w.puppet(), w.puppet(), w.puppet()
	for _, r := range []rocketchat.Room{w.channel(p), w.group(p)} {
		for range 2 {
			w.ok(p.Invite(t.Context(), r.Type, r.ID, other.ID, third.ID))
		}
		equal(t, w.members(p, r), sorted(p.Username, other.Username, third.Username), "members")
		note := "au"
		if r.Type == rocketchat.Channel {
			note = w.Expect(t).NoteOfInvited
		}
		added := 0
		for _, m := range w.history(p, r.ID) {
			if m.Type == note && m.User.ID != p.ID || m.Type == "au" {
				added++
			}
		}
		equal(t, added, 2, "messages about it")
		w.refused(p.Invite(t.Context(), r.Type, r.ID, w.Name("nobody")), http.StatusBadRequest)
		w.refused(p.Invite(t.Context(), r.Type, w.Name("room"), other.ID), http.StatusBadRequest, "error-room-not-found")
		w.refused(other.Invite(t.Context(), r.Type, r.ID, w.puppet().ID), http.StatusBadRequest)
		if err := w.puppet().Invite(t.Context(), r.Type, r.ID, third.ID); rocketchat.Status(err) != http.StatusBadRequest {
			t.Errorf("by a stranger: %v", err)
		}
	}
}

func TestJoinAndLeave(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	open, private := w.channel(p), w.group(p)
	for range 2 {
		w.ok(other.Join(t.Context(), open.ID))
	}
	equal(t, w.members(p, open), sorted(p.Username, other.Username), "members")
	w.refused(p.Leave(t.Context(), open.Type, open.ID), http.StatusBadRequest, "error-you-are-last-owner")
	for range 2 {
		w.ok(other.Leave(t.Context(), open.Type, open.ID))
	}
	equal(t, w.members(p, open), sorted(p.Username), "members afterwards")
	if err := other.Join(t.Context(), private.ID); rocketchat.Status(err) != http.StatusBadRequest {
		t.Errorf("a private room: %v", err)
	}
	if err := other.Join(t.Context(), w.Name("room")); rocketchat.Status(err) != http.StatusBadRequest {
		t.Errorf("no room: %v", err)
	}
}

func TestKick(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	for _, r := range []rocketchat.Room{w.channel(p, other), w.group(p, other)} {
		if err := other.Kick(t.Context(), r.Type, r.ID, p.ID); rocketchat.Status(err)/100 != 4 {
			t.Errorf("by a user without permission: %v", err)
		}
		w.ok(p.Kick(t.Context(), r.Type, r.ID, other.ID))
		w.refused(p.Kick(t.Context(), r.Type, r.ID, other.ID), http.StatusBadRequest, "error-user-not-in-room")
		equal(t, w.members(p, r), sorted(p.Username), "members")
		w.refused(p.Kick(t.Context(), r.Type, r.ID, w.Name("nobody")), http.StatusBadRequest)
	}
}

func TestRoles(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	for _, r := range []rocketchat.Room{w.channel(p, other), w.group(p, other)} {
		roles := func() []string {
			t.Helper()
			s, _, err := other.Subscription(t.Context(), r.ID)
			w.ok(err)
			return sorted(s.Roles...)
		}
		w.refused(other.AddOwner(t.Context(), r.Type, r.ID, other.ID), http.StatusBadRequest)
		w.refused(other.AddModerator(t.Context(), r.Type, r.ID, other.ID), http.StatusBadRequest)
		w.refused(p.RemoveOwner(t.Context(), r.Type, r.ID, p.ID), http.StatusBadRequest, "error-remove-last-owner")
		for range 2 {
			w.ok(p.AddOwner(t.Context(), r.Type, r.ID, other.ID))
		}
		for range 2 {
			w.ok(p.AddModerator(t.Context(), r.Type, r.ID, other.ID))
		}
		equal(t, roles(), []string{"moderator", "owner"}, "roles")
		for range 2 {
			w.ok(p.RemoveOwner(t.Context(), r.Type, r.ID, other.ID))
		}
		for range 2 {
			w.ok(p.RemoveModerator(t.Context(), r.Type, r.ID, other.ID))
		}
		equal(t, len(roles()), 0, "roles left")
		w.refused(p.AddModerator(t.Context(), r.Type, r.ID, w.puppet().ID), http.StatusBadRequest, "error-user-not-in-room")
		var noted []string
		for _, m := range w.history(p, r.ID) {
			if m.Role != "" {
				noted = append(noted, m.Type+" "+m.Role)
			}
		}
		equal(t, noted, []string{"subscription-role-added owner", "subscription-role-added moderator",
			"subscription-role-removed owner", "subscription-role-removed moderator"}, "messages about it")
	}
}

func TestTopicAnnouncementAndName(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	taken := w.channel(p)
	for _, r := range []rocketchat.Room{w.channel(p, other), w.group(p, other)} {
		name := w.Name("renamed")
		for range 2 {
			w.ok(p.SetTopic(t.Context(), r.Type, r.ID, "what for 🐙"))
			w.ok(p.SetAnnouncement(t.Context(), r.Type, r.ID, "tomorrow"))
			w.ok(p.Rename(t.Context(), r.Type, r.ID, name))
		}
		found, _, err := p.RoomByID(t.Context(), r.ID)
		w.ok(err)
		if found.Topic != "what for 🐙" || found.Name != name || found.Announcement != "tomorrow" {
			t.Errorf("got %+v", found)
		}
		w.ok(p.SetTopic(t.Context(), r.Type, r.ID, ""))
		found, _, err = p.RoomByID(t.Context(), r.ID)
		w.ok(err)
		equal(t, found.Topic, "", "topic")
		w.refused(p.Rename(t.Context(), r.Type, r.ID, taken.Name), http.StatusBadRequest, "error-duplicate-channel-name")
		for what, err := range map[string]error{
			"topic":        other.SetTopic(t.Context(), r.Type, r.ID, "mine"),
			"announcement": other.SetAnnouncement(t.Context(), r.Type, r.ID, "mine"),
			"name":         other.Rename(t.Context(), r.Type, r.ID, w.Name("mine")),
			"no room":      p.SetTopic(t.Context(), r.Type, w.Name("room"), "mine"),
		} {
			if s := rocketchat.Status(err); s != http.StatusBadRequest && s != http.StatusForbidden {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	dm, err := p.CreateDirect(t.Context(), other.Username)
	w.ok(err)
	w.ok(p.SetTopic(t.Context(), rocketchat.Direct, dm.ID, "us"))
}

func TestMembersComeInPages(t *testing.T) {
	if testing.Short() {
		mustrun.Skip(t, "it makes a hundred users; make test runs it, without -short")
	}
	w := begin(t)
	p := w.puppet()
	want := []string{p.Username}
	var names []string
	for i := range 105 {
		n := w.newUser()
		n.Name = fmt.Sprint("Member ", i)
		u, err := w.admin.CreateUser(t.Context(), n)
		w.ok(err)
		names = append(names, u.Username)
	}
	r, err := p.CreateGroup(t.Context(), w.Name("group"), names)
	w.ok(err)
	equal(t, w.members(p, r), sorted(append(want, names...)...), "members")
	_, err = w.puppet().Members(t.Context(), r.Type, r.ID)
	if s := rocketchat.Status(err); s != http.StatusBadRequest && s != http.StatusForbidden {
		t.Errorf("to a stranger: %v", err)
	}
}
