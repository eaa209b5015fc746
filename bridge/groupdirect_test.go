package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestFeatureGroupDirectRoomsFromMatrix: a direct room on Matrix with more than two
// people is a private group in Rocket.Chat, whether they were all invited at once or
// some came later.
func TestFeatureGroupDirectRoomsFromMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot")
	w.rc.CreateUser("carol", "user", "bot")
	bob, dave := w.far.Register("bob", "Bob Builder"), w.far.Register("dave", "Dave")
	carol := "@carol:" + w.home.Name
	seen := map[string]bool{}
	converse := func(t *testing.T, mxRoom string) {
		t.Helper()
		room := ""
		mxtest.WaitFor(t, "a group of everybody in Rocket.Chat", func() bool {
			for _, r := range w.rooms() {
				id := fmt.Sprint(r["_id"])
				if in := w.rc.Members(id); !seen[id] && r["t"] == "p" && slices.Contains(in, "alice") && slices.Contains(in, "carol") && has(in, "bob_") && has(in, "dave_") {
					room = id
				}
			}
			return room != ""
		})
		dave.Send(mxRoom, "from dave")
		mxtest.WaitFor(t, "dave's word", func() bool {
			return slices.ContainsFunc(w.saidInRC(room), func(s string) bool { return strings.HasPrefix(s, "dave_") && strings.HasSuffix(s, ": from dave") })
		})
		w.rc.Say(room, "carol", "from carol")
		mxtest.WaitFor(t, "carol's word", func() bool { return slices.Contains(saidOnMatrix(bob, mxRoom), carol+": from carol") })
		seen[room] = true
	}
	invite := func(room, user string) {
		bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/invite", map[string]any{"user_id": user}, nil)
	}
	// Two servers that accept joins at the same moment can lose one of them.
	in := func(room string, users ...string) {
		for _, user := range users {
			w.waitForGhost(bob, room, user)
		}
	}
	t.Run("at once", func(t *testing.T) {
		mxRoom := bob.CreateRoom("", true, w.alice(), carol, dave.ID)
		w.hint(mxRoom, w.alice(), bob.ID)
		w.hint(mxRoom, carol, bob.ID)
		in(mxRoom, w.alice(), carol)
		dave.AcceptInvitation()
		converse(t, mxRoom)
	})
	t.Run("one by one", func(t *testing.T) {
		mxRoom := bob.CreateRoom("", true, w.alice())
		w.hint(mxRoom, w.alice(), bob.ID)
		dm := w.directWith("alice", "bob_")
		in(mxRoom, w.alice())
		bob.Send(mxRoom, "hello alice")
		w.waitForRC(dm, w.puppetOf(dm, "alice")+": hello alice")
		invite(mxRoom, dave.ID)
		dave.AcceptInvitation()
		mxtest.WaitFor(t, "dave in a group in Rocket.Chat", func() bool {
			return slices.ContainsFunc(w.rooms(), func(r map[string]any) bool {
				return !seen[fmt.Sprint(r["_id"])] && r["t"] == "p" && has(w.rc.Members(fmt.Sprint(r["_id"])), "dave_")
			})
		})
		invite(mxRoom, carol)
		w.hint(mxRoom, carol, bob.ID)
		in(mxRoom, carol)
		converse(t, mxRoom)
	})
}

// has reports whether a list has an element with the given prefix.
func has(list []string, prefix string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, prefix) })
}
