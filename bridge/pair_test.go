package bridge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// make bench OTHER='...' measures whatever carries messages between two rooms, here this
// bridge: each message comes out once, and is distinguished from other messages.
func TestPairOfRoomsIsMeasured(t *testing.T) {
	t.Parallel()
	w := newWorldNamed(t, &rctest.Server{Polite: true}, "prefixed")
	alice, bob := w.rc.CreateUser("alice", "user", "bot"), w.home.Register("bob", "Bob Builder")
	room := w.rc.CreateChannel("general-2", "alice")
	w.must(alice, room, "bridge", "invite "+bob.ID)
	mxRoom, _ := bob.AcceptInvitation()
	addresses := w.rc.URL + "/channel/general-2 " + mxRoom
	file := filepath.Join(t.TempDir(), "accounts.yaml")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	good := fmt.Sprintf("rocketchat: {user: alice, password: alice}\nmatrix: {url: %q, token: %q}\n", w.home.URL, bob.Token)
	for _, bad := range []struct {
		addresses, text string
		mode            os.FileMode
		fact, hint      string
	}{
		{"https://chat.example.org/channel/general", good, 0o600, "OTHER holds 1 addresses", "make bench OTHER="},
		{w.rc.URL + "/channel/general-2 general:x", good, 0o600, "no room of Matrix", "make bench OTHER="},
		{w.rc.URL + "/general-2 " + mxRoom, good, 0o600, "no channel of Rocket.Chat", "make bench OTHER="},
		{addresses, good, 0o640, "others may read it", "chmod 600 " + file},
		{addresses, "rocketchat: {name: alice}\n", 0o600, "cannot be read", "docs/performance.md"},
		{addresses, "matrix: {url: x, token: y}\n", 0o600, "no account of Rocket.Chat", "user_id and a token"},
		{addresses, strings.Replace(good, "password: alice", "password: bob", 1), 0o600, "does not let alice in", "personal access token"},
		{addresses, strings.Replace(good, bob.Token, "wrong", 1), 0o600, "does not take the token", "sign in again"},
		{w.rc.URL + "/channel/nowhere " + mxRoom, good, 0o600, "does not show the room nowhere", "invite the account"},
		{w.rc.URL + "/channel/general-2 #nowhere:" + w.home.Name, good, 0o600, "does not let the account into #nowhere", "invite the account"},
	} {
		write(bad.text, bad.mode)
		_, _, err := openPair(t, bad.addresses, file, 0)
		if err == nil || !strings.Contains(err.Error(), bad.fact) || !strings.Contains(err.Error(), "\nhint: ") || !strings.Contains(err.Error(), bad.hint) {
			t.Errorf("%s\n%s: %v", bad.addresses, bad.text, err)
		}
		if err != nil && strings.Contains(err.Error(), bob.Token) {
			t.Errorf("it shows a token: %v", err)
		}
	}
	write(good, 0o600)
	toMX, toRC, err := openPair(t, addresses, file, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for what, way := range map[string]way{"to Matrix": toMX, "to Rocket.Chat": toRC} {
		if err := way.warmUp(t, what, 0); err != nil {
			t.Fatal(err)
		}
		w.rc.Say(room, "alice", "by the way")
		var o outcome
		way.load(t, 1, 8, &o)
		if o.written != 8 || o.out != 8 || len(o.took) != 8 || o.lost+o.doubled+o.reordered != 0 || o.resident == 0 {
			t.Errorf("%s: %+v", what, o)
		}
	}
	mxtest.WaitFor(t, "all of them, as people see them", func() bool {
		said := 0
		for _, m := range w.rc.Said(room) {
			if mark.MatchString(m.Text) {
				said++
			}
		}
		return said >= 2*9
	})
}

// The table's numbers of lost, doubled and reordered messages are correct.
func TestWhatComesOutIsCounted(t *testing.T) {
	t.Parallel()
	e := newEar()
	for n := range 5 {
		e.expect(fmt.Sprintf("bench1r0n%de", n+1))
	}
	e.hear("a", "<bob> What a person says in a room, bench1r0n1e.")
	e.hear("a", "bench1r0n1e") // the same message, as an event of it may come twice
	e.hear("c", "bench1r0n3e")
	e.hear("b", "bench1r0n2e")
	e.hear("d", "bench1r0n4e")
	e.hear("e", "bench1r0n4e")
	e.hear("f", "bench0r0n5e") // of an earlier run
	if written, out, lost, doubled, reordered := e.tally(); written != 5 || out != 4 || lost != 1 || doubled != 1 || reordered != 1 {
		t.Errorf("of %d written %d came out: %d lost, %d doubled, %d reordered", written, out, lost, doubled, reordered)
	}
}
