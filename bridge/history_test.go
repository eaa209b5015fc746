package bridge_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

func TestFeatureHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice")
	w.rc.CreateUser("carol")
	room := w.rc.CreateRoom("p", "plans", "alice", "carol")
	want := []string{}
	first := ""
	for i := range 130 { // more than one page
		who := []string{"alice", "carol"}[i%2]
		id := w.rc.Say(room, who, fmt.Sprintf("message %d", i))
		if i == 128 {
			first = id
		}
		if i >= 10 {
			want = append(want, fmt.Sprintf("@%s:%s: message %d", who, w.home.Name, i))
		}
	}
	w.rc.React(first, "carol", "smile")
	w.rc.Leave(room, "carol")
	said := time.Now()
	w.must(alice, room, "bridge", "history 122") // including two messages about joins and leaves
	w.rc.Say(room, "alice", "after the bridge")
	bob := w.far.Register("bob", "Bob Builder")
	w.must(alice, room, "bridge", "invite "+bob.ID)
	mxRoom, _ := bob.AcceptInvitation()
	want = append(want, w.alice()+": after the bridge")
	// The history is shared with people who are invited later.
	mxtest.WaitFor(t, "the past on Matrix", func() bool { return len(saidOnMatrix(bob, mxRoom)) >= len(want) })
	if got := saidOnMatrix(bob, mxRoom); !slices.Equal(got, want) {
		t.Errorf("on Matrix:\n%q\nwant\n%q", got, want)
	}
	for _, e := range bob.Events(mxRoom) {
		c, _ := e["content"].(map[string]any)
		ts, _ := e["origin_server_ts"].(float64)
		if c["body"] == "message 129" && time.UnixMilli(int64(ts)).After(said) {
			t.Errorf("message 129 was said at %v", time.UnixMilli(int64(ts)))
		}
	}
	carol := "@carol:" + w.home.Name
	mxtest.WaitFor(t, "carol to have left", func() bool { return bob.Members(mxRoom)[carol] != "join" })
	if !slices.ContainsFunc(bob.Events(mxRoom), func(e map[string]any) bool { return e["type"] == "m.reaction" }) {
		t.Error("the reaction is not there")
	}
	status, answer := w.command(alice, room, "bridge", "history 5")
	if status == 200 {
		t.Errorf("history of a bridged room: %d %s", status, answer)
	}
}
