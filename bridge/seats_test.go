package bridge_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
)

// When Rocket.Chat's licence has no seat left, a newcomer from Matrix becomes a dead
// letter that says so, existing people go on, and a retry works once there are seats.
func TestWhenTheSeatsRunOut(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.License(1)
	carol := s.far.Register("carol", "Carol")
	s.must(s.people["alice"], s.room, "bridge", "invite "+carol.ID)
	carol.AcceptInvitation()
	carol.Send(s.mxRoom, "is there a seat?")
	s.find("a word to carol", func(_ string, c map[string]any) bool {
		body, _ := c["body"].(string)
		return c["msgtype"] == "m.notice" && strings.Contains(body, "was not carried to Rocket.Chat")
	})
	var list []struct{ ID, Cause string }
	mxtest.WaitFor(t, "dead letters", func() bool {
		return json.Unmarshal([]byte(s.asked(http.MethodGet, "/queue/dead", "")), &list) == nil && len(list) > 0
	})
	for _, l := range list {
		if !strings.Contains(l.Cause, "error-license-user-limit-reached") {
			t.Errorf("the reason is %q", l.Cause)
		}
	}
	s.bob.Send(s.mxRoom, "I am here already")
	s.messageText("I am here already")
	s.rc.License(0)
	s.asked(http.MethodPost, "/queue/dead/retry", `{"all":true}`)
	s.messageText("is there a seat?")
}
