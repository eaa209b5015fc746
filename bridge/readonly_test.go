package bridge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
)

// A workspace becomes read-only: messages from Matrix wait, whoever looks at the bridge
// sees why, and when it is over everything arrives once and in order.
func TestAReadOnlyWorkspaceKeepsMessagesWaiting(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	before := len(s.saidInRC(s.room))
	s.rc.Restrict(true)
	var want []string
	for n := range 5 {
		s.bob.Send(s.mxRoom, fmt.Sprint("patience ", n))
		want = append(want, fmt.Sprint(s.puppet, ": patience ", n))
	}
	mxtest.WaitFor(t, "the bridge to say that it is not ready, and why", func() bool {
		code, text := s.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "[-]rocketchat ") && strings.Contains(text, "restricted-workspace")
	})
	mxtest.WaitFor(t, "five messages to wait", func() bool { return s.status().Waiting == 5 })
	if why := s.status().Problem; !strings.Contains(why, "no licence") || !strings.Contains(why, "restricted-workspace") {
		t.Errorf("the operator is told %q", why)
	}
	if said := s.saidInRC(s.room)[before:]; len(said) != 0 {
		t.Errorf("a workspace that takes nothing has %q", said)
	}
	for _, e := range s.bob.Timeline(s.mxRoom) {
		if e.Content.MsgType == "m.notice" {
			t.Errorf("bob is told %q although nothing is lost", e.Content.Body)
		}
	}
	s.rc.Restrict(false)
	mxtest.WaitFor(t, "everything to arrive", func() bool { return len(s.saidInRC(s.room)[before:]) >= 5 })
	mxtest.WaitFor(t, "the bridge to be ready", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
	if why := s.status().Problem; why != "" {
		t.Errorf("the operator is still told %q", why)
	}
	s.bob.Send(s.mxRoom, "and now")
	s.messageText("and now")
	if said := s.saidInRC(s.room)[before:]; !slices.Equal(said, append(want, s.puppet+": and now")) {
		t.Errorf("in Rocket.Chat: %q", said)
	}
}
