package bridge_test

import (
	"fmt"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// TestEverythingOnARudeHomeserver holds the conversation of TestEverythingOnRudeServers
// on homeservers that refuse requests with 429, drop connections after they have done
// what was requested, forget client transactions, and repeat their own with more in them.
func TestEverythingOnARudeHomeserver(t *testing.T) {
	t.Parallel()
	if !mxtest.Hermetic() {
		mustrun.Skip(t, "real homeservers are as they are; go test without APPLIANCE_DENDRITE runs this")
	}
	first, n := seeds(t)
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			kind := mxtest.Kind(t)
			w := worldSpec{namespace: "native", home: kind, far: mxtest.Dendrite, version: roomVersion(t, kind), rude: seed}.start(t, &rctest.Server{Polite: true})
			s := &stage{world: w}
			s.room, s.mxRoom, s.bob = w.bridged()
			for _, m := range w.rc.Members(s.room) {
				if strings.HasPrefix(m, "bob_") {
					s.puppet = m
				}
			}
			s.everything()
			s.reactedOnce()
		})
	}
}

// reactedOnce fails if a ghost has reacted to one event twice in the same way.
func (s *stage) reactedOnce() {
	s.t.Helper()
	seen := map[string]bool{}
	for _, e := range s.bob.Events(s.mxRoom) {
		content, _ := e["content"].(map[string]any)
		relation, _ := content["m.relates_to"].(map[string]any)
		if e["type"] != "m.reaction" || relation == nil {
			continue
		}
		what := fmt.Sprint(e["sender"], " reacts to ", relation["event_id"], " with ", relation["key"])
		if seen[what] {
			s.t.Errorf("%s twice", what)
		}
		seen[what] = true
	}
}
