package relay_test

import (
	"slices"
	"strings"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// When the members of a room are compared, those already there do not join again.
func TestWhoIsThereDoesNotJoinAgain(t *testing.T) {
	b := newBench(t)
	b.rc.members = []ids.RCUser{"alice", "bob", "carol"}
	b.run()
	b.must(b.Accept(t.Context(), []queue.Item{model.RCMembershipItem("again", rcRoom)}, nil))
	until(t, "carol on Matrix", b.mx.log, func(did []string) bool { return slices.Contains(did, "@carol:here.org joins") })
	if did := b.mx.log(); slices.ContainsFunc(did, func(s string) bool { return strings.HasPrefix(s, "@alice:here.org joins") }) {
		t.Errorf("alice has joined again: %q", did)
	}
}
