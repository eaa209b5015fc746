package bridge_test

import (
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestFeatureSharedHomeserver: people of the homeserver that the bridge uses talk
// to Rocket.Chat as people of other servers do.
func TestFeatureSharedHomeserver(t *testing.T) {
	t.Parallel()
	w := newWorldNamed(t, &rctest.Server{Polite: true}, "prefixed")
	alice := w.rc.CreateUser("alice", "user", "bot")
	room := w.rc.CreateRoom("p", "plans", "alice")
	ghost := "@rc_alice:" + w.home.Name
	local := w.home.Register("alice", "Alice of the homeserver") // not the Rocket.Chat user
	far := w.far.Register("bob", "Bob Builder")
	w.must(alice, room, "bridge", "invite "+local.ID)
	mxRoom, inviter := local.AcceptInvitation()
	if inviter != ghost {
		t.Errorf("%s invited, want %s", inviter, ghost)
	}
	w.must(alice, room, "bridge", "invite "+far.ID)
	far.AcceptInvitation()
	puppets := map[string]string{}
	mxtest.WaitFor(t, "both in Rocket.Chat", func() bool {
		for _, m := range w.rc.Members(room) {
			for _, p := range []string{"alice_localhost", "bob_localhost"} {
				if strings.HasPrefix(m, p) {
					puppets[p] = m
				}
			}
		}
		return len(puppets) == 2
	})
	local.Send(mxRoom, "from next door")
	mxtest.WaitFor(t, "from next door", func() bool {
		return slices.Contains(w.saidInRC(room), puppets["alice_localhost"]+": from next door")
	})
	w.rc.Say(room, "alice", "to both")
	for _, p := range []*mxtest.Person{local, far} {
		mxtest.WaitFor(t, p.ID+" to see it", func() bool { return slices.Contains(saidOnMatrix(p, mxRoom), ghost+": to both") })
	}
	// A direct message that begins on Matrix.
	dmRoom := local.CreateRoom("", true, ghost)
	mxtest.WaitFor(t, "alice to join on Matrix", func() bool { return local.Members(dmRoom)[ghost] == "join" })
	local.Send(dmRoom, "just us")
	dm := w.directWith("alice", "alice_localhost")
	w.waitForRC(dm, puppets["alice_localhost"]+": just us")
	w.rc.Say(dm, "alice", "indeed")
	w.waitForMatrix(local, dmRoom, local.ID+": just us", ghost+": indeed")
}
