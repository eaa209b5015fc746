package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// Where everybody needs an invitation, the bridge does not try without one: connecting a room
// costs the homeserver an invitation and a join for each member, and nothing that it refuses.
func TestMembersAreInvitedBeforeTheyJoin(t *testing.T) {
	t.Parallel()
	w := gatedWorld(t, &rctest.Server{Polite: true})
	alice := w.rc.CreateUser("alice")
	var names []string
	for i := range 8 {
		names = append(names, w.rc.CreateUser(fmt.Sprint("member", i)).Username)
	}
	room := w.rc.CreateRoom("p", "plans", "alice", names...)
	w.must(alice, room, "bridge", "history 1")
	as := w.home.As("as-token-for-tests")
	who := "?user_id=" + url.QueryEscape(w.alice())
	mxtest.WaitFor(t, "everybody on Matrix", func() bool {
		var alices struct {
			Rooms []string `json:"joined_rooms"`
		}
		if _, err := as.Call(t.Context(), http.MethodGet, "/_matrix/client/v3/joined_rooms"+who, nil, &alices); err != nil || len(alices.Rooms) == 0 {
			return false
		}
		var there struct {
			Joined map[string]any `json:"joined"`
		}
		as.Must(http.MethodGet, "/_matrix/client/v3/rooms/"+url.PathEscape(alices.Rooms[0])+"/joined_members"+who, nil, &there)
		return len(there.Joined) == len(names)+2 && w.gate.count("POST join 200") >= len(names)+1 // alice, and the bridge's own user
	})
	if refused, joined := w.gate.count("POST join 403"), w.gate.count("POST join 200"); refused != 0 || joined != len(names)+1 {
		t.Errorf("%d joins, %d that the homeserver refused", joined, refused)
	}
}
