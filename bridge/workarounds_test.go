package bridge_test

import (
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside"
	"appliance/bridge/mxside/mxtest"
)

// workarounds are the tests that show what the bridge does for a trait of a homeserver, by
// the prefixes of their names. They have nothing to show where the bridge is not told what
// homeserver it has, and that one has the trait.
var workarounds = map[string]struct {
	trait func(mxside.Traits) bool
	why   string
}{
	"TestWhatIsUnderWayWhenTheHomeserverIsKilledArrives": {holdsBack, "Synapse keeps what was under way when it stopped until it fails again"},
	"TestNothingIsLostWhenTheHomeserverIsKilled":         {holdsBack, "Synapse keeps what was under way when it stopped until it fails again"},
	"TestNothingIsLostWhenTheBridgeIsKilled":             {holdsBack, "Synapse may keep what it made when the bridge came back until the next failure, after what is newer"},
	"TestATransactionThatSynapseHoldsBack":               {holdsBack, "Synapse keeps a transaction that it made when the bridge came back"},
	"TestAFloodOnSynapse":                                {losesOrder, "Synapse skips events of another server when more than a hundred wait"},
}

func holdsBack(t mxside.Traits) bool  { return t.HoldsBack }
func losesOrder(t mxside.Traits) bool { return t.FollowsAtMost > 0 }

// skipUntold skips a test of a workaround if the bridge is told of a homeserver without
// the trait, but the one that runs has it.
func skipUntold(t testing.TB, home *mxtest.Server) {
	t.Helper()
	software, told := home.Misbehaves(), mxtest.TraitsOf(t, home.Kind)
	for name, w := range workarounds {
		if strings.HasPrefix(t.Name(), name) && w.trait(software) && !w.trait(told) {
			mustrun.Skip(t, w.why+", and the bridge is not told that this is Synapse; the tests with homeserver synapse run it")
		}
	}
}

// Every test in the table is for a trait that some homeserver has.
func TestWorkaroundsAreOfTraits(t *testing.T) {
	for name, w := range workarounds {
		if !w.trait(mxtest.TraitsOf(t, mxtest.Synapse)) || w.trait(mxtest.TraitsOf(t, mxtest.Generic)) {
			t.Errorf("%s: the trait is none that Synapse has and generic lacks", name)
		}
	}
}
