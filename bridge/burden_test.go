package bridge_test

import (
	"fmt"
	"net/url"
	"testing"

	"appliance/bridge/mxside/mxtest"
)

// The load on a homeserver does not grow with every message: it keeps no notifications for our
// users, which nobody would ever read, and no connections to the bridge.
func TestTheHomeserverIsNotBurdened(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const messages = 30
	before := s.home.Connections()
	for i := range messages {
		s.rc.Say(s.room, "alice", fmt.Sprint("from Rocket.Chat ", i))
		s.bob.Send(s.mxRoom, fmt.Sprint("from Matrix ", i))
	}
	s.messageText(fmt.Sprint("from Matrix ", messages-1))
	s.findText(fmt.Sprint("from Rocket.Chat ", messages-1))
	if after := s.home.Connections(); after-before > messages/2 {
		t.Errorf("the homeserver had %d files and connections open, and %d after %d messages each way", before, after, messages)
	}
	if !mxtest.Traits(t).KeepsNotifications {
		return // there is no list of notifications for users of application services
	}
	as := s.home.As("as-token-for-tests")
	for _, user := range []string{s.alice(), "@rocket.cat:" + s.home.Name} {
		var kept struct{ Notifications []any }
		as.Must("GET", "/_matrix/client/v3/notifications?user_id="+url.QueryEscape(user), nil, &kept)
		if n := len(kept.Notifications); n > 0 {
			t.Errorf("the homeserver keeps %d notifications for %s", n, user)
		}
	}
}
