package mxside_test

import (
	"strings"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/mxside"
	"appliance/bridge/queue"
)

// The order of a room in which two Dendrites were killed and cut off: bob's server built
// "m 68" on older events than "m 67", which it had made two seconds before.
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
