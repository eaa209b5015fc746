package bridge_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestFeatureChannelsByAlias: the channels that the operator has chosen can be found
// and joined from Matrix by alias; no others can.
func TestFeatureChannelsByAlias(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot")
	square := w.rc.CreateRoom("c", "square", "alice")
	w.rc.CreateRoom("c", "office", "alice")
	w.rc.CreateRoom("p", "help-secret", "alice")
	bob := w.far.Register("bob", "Bob Builder")
	join := func(alias string) (room string) {
		var out struct {
			Room string `json:"room_id"`
		}
		_, _ = bob.Call(t.Context(), http.MethodPost, "/_matrix/client/v3/join/"+url.PathEscape(alias)+"?server_name="+w.home.Name, map[string]any{}, &out)
		return out.Room
	}
	alias := func(name string) string { return "#" + name + ":" + w.home.Name }
	listed := func() (names []string) {
		var out struct {
			Chunk []struct {
				Alias string `json:"canonical_alias"`
			} `json:"chunk"`
		}
		_, _ = bob.Call(t.Context(), http.MethodGet, "/_matrix/client/v3/publicRooms?server="+url.QueryEscape(w.home.Name), nil, &out)
		for _, r := range out.Chunk {
			names = append(names, r.Alias)
		}
		slices.Sort(names)
		return names
	}
	if join(alias("rocketchat_square")) != "" || join(alias("square")) != "" || len(listed()) > 0 {
		t.Fatal("a channel that nobody has chosen can be joined")
	}
	file := filepath.Join(w.dir, "bridge.yaml")
	base, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.write("bridge.yaml", string(base)+"public_channels: [square, help-*]\n")
	mxtest.WaitFor(t, "the channel in the list", func() bool { return slices.Equal(listed(), []string{alias("square")}) })
	mxRoom := ""
	mxtest.WaitFor(t, "bob to join by the channel's name", func() bool { mxRoom = join(alias("square")); return mxRoom != "" })
	if other := join(alias("rocketchat_square")); other != mxRoom {
		t.Errorf("#rocketchat_square leads to %q, #square to %q", other, mxRoom)
	}
	mxtest.WaitFor(t, "bob in the channel", func() bool { return has(w.rc.Members(square), "bob_") })
	w.warmUp(bob, mxRoom, square)
	bob.Send(mxRoom, "hello square")
	mxtest.WaitFor(t, "bob's word", func() bool {
		return len(w.saidInRC(square)) > 0 && slices.ContainsFunc(w.saidInRC(square), func(s string) bool { return s[len(s)-12:] == "hello square" })
	})

	help := w.rc.CreateRoom("c", "help-desk", "alice") // created since then: the homeserver asks for it
	mxtest.WaitFor(t, "bob to join a channel that was just made", func() bool { return join(alias("rocketchat_help-desk")) != "" })
	mxtest.WaitFor(t, "bob in the new channel", func() bool { return has(w.rc.Members(help), "bob_") })
	for _, name := range []string{"office", "rocketchat_office", "help-secret", "rocketchat_help-secret", "nothing"} {
		if join(alias(name)) != "" {
			t.Errorf("%s can be joined", name)
		}
	}
	w.write("bridge.yaml", string(base))
	mxtest.WaitFor(t, "nothing in the list", func() bool { return len(listed()) == 0 })
	dave := w.far.Register("dave", "Dave")
	mxtest.WaitFor(t, "nobody to be let in any more", func() bool {
		_, err := dave.Call(t.Context(), http.MethodPost, "/_matrix/client/v3/join/"+url.PathEscape(mxRoom)+"?server_name="+w.home.Name, map[string]any{}, nil)
		return err != nil
	})
	bob.Send(mxRoom, "still here")
	mxtest.WaitFor(t, "who is there to stay", func() bool {
		return slices.ContainsFunc(w.saidInRC(square), func(s string) bool { return s[len(s)-10:] == "still here" })
	})
}
