package bridge_test

import (
	"slices"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
)

// A Dendrite that was killed may reject what another server sends it just afterwards, and
// accept it minutes later without pushing it. It is found then.
func TestWhatWasRejectedAfterAKillIsFoundLater(t *testing.T) {
	t.Parallel()
	if !mxtest.Hermetic() || !mxtest.Traits(t).SkipsInterrupted {
		mustrun.Skip(t, "a real homeserver rejects nothing at will; go test without APPLIANCE_DENDRITE runs this")
	}
	s := newStage(t)
	s.compareOften()
	s.home.Kill()
	s.home.Launch()
	end := s.home.SkipNext()
	s.bob.Send(s.mxRoom, "rejected")
	s.bob.Send(s.mxRoom, "taken")
	s.rc.WaitFor(t, s.room, "taken")
	end()
	mxtest.WaitFor(t, "what was rejected to be found", func() bool { return slices.Contains(only(s.saidInRC(s.room), "bob_"), "rejected") })
}
