package bridge_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge"
	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestFeatureSharedHomeserver: users of the bridge's own homeserver talk to
// Rocket.Chat as users of other servers do.
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
	// A direct message that starts on Matrix.
	dmRoom := local.CreateRoom("", true, ghost)
	mxtest.WaitFor(t, "alice to join on Matrix", func() bool { return local.Members(dmRoom)[ghost] == "join" })
	local.Send(dmRoom, "just us")
	dm := w.directWith("alice", "alice_localhost")
	w.waitForRC(dm, puppets["alice_localhost"]+": just us")
	w.rc.Say(dm, "alice", "indeed")
	w.waitForMatrix(local, dmRoom, local.ID+": just us", ghost+": indeed")
}

// Two workspaces, each with a bridge, share a homeserver: each has its own users there,
// although people have the same names, and neither hears anything of the other's.
func TestTwoBridgesShareAHomeserver(t *testing.T) {
	t.Parallel()
	if !mxtest.Hermetic() {
		mustrun.Skip(t, "the tests give a real homeserver one registration; go test without APPLIANCE_DENDRITE runs this")
	}
	home := mxtest.Kind(t)
	first := worldSpec{namespace: "prefixed", home: home, far: mxtest.Dendrite, version: roomVersion(t, home)}
	one := first.prepare(t, &rctest.Server{Polite: true, Simulator: true})
	second := first
	second.prefix, second.beside = "acme_", one
	two := second.prepare(t, &rctest.Server{Polite: true, Simulator: true})
	one.home.Start(one.registration + "---\n" + two.registration)
	one.far.Start("")
	first.run(one)
	second.run(two)

	bob := one.far.Register("bob", "Bob Builder")
	rooms := map[*world]string{}
	for w, ghost := range map[*world]string{one: "@rc_alice:" + one.home.Name, two: "@acme_alice:" + one.home.Name} {
		alice := w.rc.CreateUser("alice", "user", "bot")
		rooms[w] = w.rc.CreateRoom("p", "plans", "alice")
		w.must(alice, rooms[w], "bridge", "invite "+bob.ID)
		mxRoom, inviter := bob.AcceptInvitation()
		if inviter != ghost {
			t.Errorf("%s invited, want %s", inviter, ghost)
		}
		mxtest.WaitFor(t, "bob in Rocket.Chat", func() bool { return has(w.rc.Members(rooms[w]), "bob_") })
		w.rc.Say(rooms[w], "alice", "hello")
		w.waitForMatrix(bob, mxRoom, ghost+": hello")
		bob.Send(mxRoom, "indeed")
		w.rc.WaitFor(t, rooms[w], "indeed")
	}
	for w, room := range rooms {
		if said := w.saidInRC(room); len(said) != 2 {
			t.Errorf("in one of the rooms: %q", said)
		}
		var users struct{ Users []struct{ Username string } }
		w.call(w.rc.Admin(), http.MethodGet, "users.list?count=100", nil, &users)
		if len(users.Users) < 3 {
			t.Errorf("only %d accounts were found", len(users.Users))
		}
		for _, u := range users.Users { // none for a user of the other bridge
			if strings.HasPrefix(u.Username, "rc_") || strings.HasPrefix(u.Username, "acme_") {
				t.Errorf("a user of the other Rocket.Chat has the account %s", u.Username)
			}
		}
	}
}

// Rocket.Chat's users keep their addresses on Matrix.
func TestThePrefixIsPermanent(t *testing.T) {
	t.Parallel()
	w := newWorldNamed(t, &rctest.Server{Polite: true}, "prefixed")
	w.stop()
	file := filepath.Join(w.dir, "bridge.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for was, now := range map[string]string{"ghost_prefix: rc_": "ghost_prefix: acme_", "namespace: prefixed": "namespace: native"} {
		w.write("bridge.yaml", strings.Replace(string(text), was, now, 1))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // it would run for ever
		err := bridge.Run(ctx, bridge.Options{ConfigFile: file, Log: slog.New(slog.DiscardHandler), Version: "test"})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "cannot change after the first start") || !strings.Contains(err.Error(), "@rc_*:"+w.home.Name) {
			t.Errorf("%s: the bridge says %v", now, err)
		}
	}
	w.write("bridge.yaml", string(text))
	w.startBridge()
}
