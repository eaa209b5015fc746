package bridge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// An invitation that is told twice, by a hint of the web server and by the homeserver, is
// one: it uses up no second one of those that a person may send in a day, and throws
// nobody out.
func TestAnInvitationThatIsToldTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("alice", "user", "bot")
	w.configure("flood: {invitations_per_person: 1}\n")
	bob := w.far.Register("bob", "Bob Builder")
	mxRoom := bob.CreateRoom("Garden Party", false, w.alice())
	w.hint(mxRoom, w.alice(), bob.ID)
	room := ""
	mxtest.WaitFor(t, "the room in Rocket.Chat", func() bool { room = w.roomNamed("Garden-Party"); return room != "" })
	body := fmt.Sprintf(`{"events":[{"type":"m.room.member","event_id":"$again","room_id":%q,"sender":%q,"state_key":%q,"origin_server_ts":1,"content":{"membership":"invite"}}]}`, mxRoom, bob.ID, w.alice())
	mxtest.WaitFor(t, "the bridge to take it", func() bool { // it may refuse the first one on purpose
		res := w.knock(http.MethodPut, "/_matrix/app/v1/transactions/again", body, "Bearer hs-token-for-tests")
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	bob.Send(mxRoom, "after it")
	mxtest.WaitFor(t, "what is said after it", func() bool {
		return slices.ContainsFunc(w.saidInRC(room), func(s string) bool { return strings.HasSuffix(s, ": after it") })
	})
	if strings.Contains(w.log.String(), "an invitation is declined") {
		t.Error("the invitation was accepted and then declined")
	}
}
