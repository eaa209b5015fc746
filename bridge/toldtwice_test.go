package bridge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// An invitation that arrives twice, in a hint from the web server and from the
// homeserver, is one: it uses up only one of the invitations that a person may send in a
// day, and throws nobody out.
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

// A homeserver that was cut off may learn of an older edit after a newer one, and pushes
// it then. The newest counts.
func TestAnOlderEditThatComesLateChangesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	said := s.bob.Send(s.mxRoom, "one")
	s.messageText("one")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "* two", "m.new_content": map[string]any{"msgtype": "m.text", "body": "two"}, "m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": said},
	})
	s.messageText("two")
	tell := func(id, sender, text string, at int64) {
		t.Helper()
		body := fmt.Sprintf(`{"events":[{"type":"m.room.message","event_id":%q,"room_id":%q,"sender":%q,"origin_server_ts":%d,"content":{
			"msgtype":"m.text","body":"* %[5]s","m.new_content":{"msgtype":"m.text","body":%[5]q},"m.relates_to":{"rel_type":"m.replace","event_id":%[6]q}}}]}`, id, s.mxRoom, sender, at, text, said)
		mxtest.WaitFor(t, "the bridge to take it", func() bool { // it may refuse the first one on purpose
			res := s.knock(http.MethodPut, "/_matrix/app/v1/transactions/"+id[1:], body, "Bearer hs-token-for-tests")
			_ = res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
		s.bob.Send(s.mxRoom, "after "+text)
		s.messageText("after " + text)
	}
	texts := func() (all []string) {
		for _, m := range s.rc.Said(s.room) {
			all = append(all, m.Text)
		}
		return all
	}
	tell("$older", s.bob.ID, "older", time.Now().Add(-time.Hour).UnixMilli())
	tell("$others", "@eve:"+s.far.Name, "of another", time.Now().Add(time.Hour).UnixMilli())
	if got := texts(); !slices.Contains(got, "two") {
		t.Errorf("in Rocket.Chat: %q", got)
	}
	tell("$newer", s.bob.ID, "newer", time.Now().Add(time.Minute).UnixMilli())
	if got := texts(); !slices.Contains(got, "newer") {
		t.Errorf("in Rocket.Chat: %q", got)
	}
}
