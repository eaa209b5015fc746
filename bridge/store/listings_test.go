package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/store"
)

// Every portal is on exactly one page, newest first, including those that began at
// the same moment; a search treats what people type as text.
func TestPortalsAreListedByKey(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		for i := range 25 {
			p := model.Portal{RCRoom: ids.RCRoom(fmt.Sprintf("room%02d", i)), MXRoom: ids.MXRoom(fmt.Sprintf("!r%02d:x", i)), RCType: "p", Created: time.UnixMilli(int64(1000 + i/10)), Title: fmt.Sprintf("Team 100%% %d", i)}
			if err := s.PutPortal(ctx, p, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		var seen []ids.RCRoom
		for from := (store.PortalKey{}); ; {
			list, err := s.PortalsBefore(ctx, "", from, 7)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			for _, p := range list {
				seen = append(seen, p.RCRoom)
			}
			from = store.PortalKey{Created: list[len(list)-1].Created, RCRoom: list[len(list)-1].RCRoom}
		}
		if distinct := slices.Compact(slices.Sorted(slices.Values(seen))); len(seen) != 25 || len(distinct) != 25 || seen[0] != "room24" || seen[24] != "room00" {
			t.Errorf("%d of 25, %d distinct: %v", len(seen), len(distinct), seen)
		}
		if err := s.SetTitle(ctx, "room03", "Élan_vital"); err != nil {
			t.Fatal(err)
		}
		for words, want := range map[string]int{"team 100%": 24, "team_": 0, "LAN_VITAL": 1, "ROOM1": 10, "!r07": 1, "%": 24, "'; DROP TABLE portals": 0} {
			if list, err := s.PortalsBefore(ctx, words, store.PortalKey{}, 50); err != nil || len(list) != want {
				t.Errorf("%q: %d, %v", words, len(list), err)
			}
		}
	})
}

// A room's lanes are summed up without what is said in them.
func TestLanesAreSummedUp(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx, now := t.Context(), time.Now()
		for i := range 3 {
			if _, err := s.Add(ctx, now, queue.Item{ID: fmt.Sprint("i", i), Lane: "rc:r", Kind: "rc.message", Payload: []byte([]string{`{"sender":"@bob:x"}`, `{"sender":"@bob:x"}`, "{}"}[i])}); err != nil {
				t.Fatal(err)
			}
		}
		it, ok, err := s.Claim(ctx, queue.Messages, time.Now())
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := s.GiveUp(ctx, it, model.ErrTooLarge); err != nil {
			t.Fatal(err)
		}
		sums, err := s.LanesNamed(ctx, []string{"rc:r", "mx:!none:x"})
		sum := sums["rc:r"]
		if err != nil || len(sums) != 1 || sum.Waiting != 2 || sum.Dead != 1 || sum.LastError != model.ErrTooLarge.Error() || now.Sub(sum.Oldest).Abs() > time.Second {
			t.Errorf("%+v, %v", sums, err)
		}
		for text, want := range map[string]int{`"sender":"@bob:x"`: 2, "nobody": 0} {
			if list, _, err := s.ItemsHolding(ctx, "rc", []byte(text), 0, 10, 10); err != nil || len(list) != want {
				t.Errorf("%s: %v, %v", text, list, err)
			}
		}
		list, next, err := s.ItemsHolding(ctx, "rc", []byte("bob"), 0, 1, 10)
		if err != nil || len(list) != 1 || !list[0].Dead || next == 0 {
			t.Errorf("the oldest item: %v, %d, %v", list, next, err)
		}
		if list, next, err = s.ItemsHolding(ctx, "rc", []byte("bob"), next, 2, 10); err != nil || len(list) != 1 || list[0].ID != "i1" || next != 0 {
			t.Errorf("from there on: %v, %d, %v", list, next, err)
		}
		if list, _, err := s.ItemsHolding(ctx, "mx", []byte("bob"), 0, 10, 10); err != nil || len(list) != 0 {
			t.Errorf("of the other side: %v, %v", list, err)
		}
		for lane, want := range map[string]int{"": 1, "c:r": 1, "mx": 0, "%": 0} {
			n := 0
			err := s.DeadLettersWhere(ctx, "rc.message", lane, func(store.DeadLetter) bool { n++; return true })
			if groups, gerr := s.DeadGroups(ctx, lane); err != nil || gerr != nil || n != want || len(groups) != 1 || groups[0] != (store.DeadGroup{Side: "rc", Kind: "rc.message", Cause: model.ErrTooLarge.Error(), Count: 1, Fitting: want}) {
				t.Errorf("%q: %d, %v, %v, %v", lane, n, groups, err, gerr)
			}
		}
	})
}

// People are found by any part of their names and addresses, and listed once each.
func TestPeopleAreListedByKey(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		for i := range 30 {
			if err := s.PutGhost(ctx, model.Ghost{RCUser: ids.RCUser(fmt.Sprint("u", i)), MXUser: ids.MXUser(fmt.Sprintf("@user%02d:here", i)), Username: fmt.Sprintf("user%02d", i), Name: fmt.Sprintf("Person %d", i)}); err != nil {
				t.Fatal(err)
			}
			if err := s.PutPuppet(ctx, model.Puppet{MXUser: ids.MXUser(fmt.Sprintf("@remote%02d:s%d.example", i, i%3)), RCUser: ids.RCUser(fmt.Sprint("p", i)), Username: fmt.Sprintf("remote%02d", i), Name: fmt.Sprintf("Remote %d", i)}); err != nil {
				t.Fatal(err)
			}
		}
		n, after := 0, ids.MXUser("")
		for {
			list, next, err := s.PeopleAfter(ctx, true, "", after, 7)
			if err != nil {
				t.Fatal(err)
			}
			if n += len(list); next == "" {
				break
			}
			after = next
		}
		if n != 30 {
			t.Errorf("%d of 30 puppets", n)
		}
		if err := s.PutGhost(ctx, model.Ghost{RCUser: "u-oezil", MXUser: "@zoezil:here", Username: "oezil", Name: "Özil"}); err != nil {
			t.Fatal(err)
		}
		if list, _, err := s.PeopleAfter(ctx, false, "Özil", "", 20); err != nil || len(list) != 1 {
			t.Errorf("a name with capitals of other alphabets, as it is written: %v, %v", list, err)
		}
		for words, want := range map[string]int{"S1.EXAMPLE": 10, "remote 2": 11, "user": 0, "_": 0} {
			if list, next, err := s.PeopleAfter(ctx, true, words, "", 20); err != nil || len(list) != want || next != "" {
				t.Errorf("%q: %d, %q, %v", words, len(list), next, err)
			}
		}
		for _, name := range []string{"@user07", "user07", "u7", "@user07:here"} {
			if list, err := s.PeopleNamed(ctx, false, name); err != nil || len(list) != 1 || list[0].RCUser != "u7" {
				t.Errorf("%s: %v, %v", name, list, err)
			}
		}
		if by, err := s.PuppetsByServer(ctx, 2); err != nil || len(by) != 2 || by["s0.example"] != 10 {
			t.Errorf("%v, %v", by, err)
		}
	})
}
