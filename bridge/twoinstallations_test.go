package bridge_test

import (
	"slices"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// Two installations, each with a Rocket.Chat, a homeserver and a bridge, federate with each
// other: people of both share a room, although they have the same name, and every message
// is there once on either side, in order.
func TestTwoInstallationsTalkToEachOther(t *testing.T) {
	t.Parallel()
	home := mxtest.Kind(t)
	first := worldSpec{namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(t, home)}
	here := first.prepare(t, &rctest.Server{Polite: true})
	second := worldSpec{namespace: "native", home: mxtest.Dendrite, far: home, across: here, version: first.version}
	there := second.prepare(t, &rctest.Server{Polite: true, Simulator: true})
	here.home.Start(here.registration)
	here.far.Start(there.registration)
	first.run(here)
	second.run(there)

	// Both are called alice, as can happen.
	alice := here.rc.CreateUser("alice", "user", "bot")
	there.rc.CreateUser("alice", "user", "bot")

	room := here.rc.CreateRoom("p", "plans", "alice")
	here.must(alice, room, "bridge", "invite "+there.alice())
	onMatrix := here.joinedRooms(here.alice())
	if len(onMatrix) != 1 {
		t.Fatalf("alice is in %v", onMatrix)
	}
	there.hint(onMatrix[0], there.alice(), here.alice())
	theirs := ""
	mxtest.WaitFor(t, "the room to be in the other Rocket.Chat", func() bool { theirs = there.roomNamed("plans"); return theirs != "" })
	for w, room := range map[*world]string{here: room, there: theirs} {
		mxtest.WaitFor(t, "both to be in each Rocket.Chat", func() bool {
			return slices.Contains(w.rc.Members(room), "alice") && has(w.rc.Members(room), "alice_")
		})
	}
	here.rc.Say(room, "alice", "hello over there")
	there.rc.WaitFor(t, theirs, "hello over there")
	there.rc.Say(theirs, "alice", "hello yourself")
	here.rc.WaitFor(t, room, "hello yourself")
	here.rc.Say(room, "alice", "goodbye")
	there.rc.WaitFor(t, theirs, "goodbye")
	for what, said := range map[string][]string{"here": here.saidInRC(room), "there": there.saidInRC(theirs)} {
		if len(said) != 3 {
			t.Errorf("%s: %q", what, said)
		}
	}
}
