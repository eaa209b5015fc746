package mxside_test

import (
	"strings"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/mxside"
	"appliance/bridge/queue"
)

// The order of a room in which two Dendrites were killed and cut off: bob's server built
// "m 68" on older events than "m 67", which it had created two seconds before.
func TestASenderIsReadInOrder(t *testing.T) {
	read := func(id string, sender ids.MXUser, at int64) mxside.Read {
		return mxside.Read{Item: queue.Item{ID: id}, Sender: sender, At: at}
	}
	const bob, carol = "@bob:there", "@carol:there"
	room := []mxside.Read{
		read("m 66", bob, 588_016), read("c 1", carol, 999_999), read("m 68", bob, 593_692), read("c 2", carol, 999_999), read("m 67", bob, 591_502), read("c 3", carol, 1),
	}
	mxside.InSendersOrder(room)
	got := make([]string, len(room))
	for i, r := range room {
		got[i] = r.Item.ID
	}
	if want := "m 66, c 3, m 67, c 1, m 68, c 2"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}

// A Dendrite that was away for minutes first sends what it then learns of those minutes, "m
// 8", and after that what is new, "m 22", which its room already has.
func TestWhatComesLateComesBeforeWhatIsNew(t *testing.T) {
	items := func(ids ...string) (list []queue.Item) {
		for _, id := range ids {
			list = append(list, queue.Item{ID: id})
		}
		return list
	}
	for _, c := range []struct {
		found, pushed []string
		late          []string
		want          string
	}{
		{[]string{"m 22", "m 23"}, []string{"m 8", "m 9"}, []string{"m 8", "m 9"}, "m 8, m 9, m 22, m 23"},
		{[]string{"m 20", "m 21", "m 22"}, []string{"m 21", "m 8"}, []string{"m 8"}, "m 20, m 21, m 8, m 22"},
		{[]string{"m 21"}, []string{"m 21", "m 22"}, []string{"of nobody"}, "m 21"},
		{nil, []string{"m 8"}, []string{"m 8"}, "m 8"},
	} {
		late := map[string]bool{}
		for _, id := range c.late {
			late[id] = true
		}
		var got []string
		for _, it := range mxside.WithLate(items(c.found...), items(c.pushed...), late) {
			got = append(got, it.ID)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("found %v, pushed %v, late %v: got %v, want %s", c.found, c.pushed, c.late, got, c.want)
		}
	}
}
