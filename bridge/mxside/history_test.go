package mxside_test

import (
	"testing"

	"appliance/bridge/mxside"
)

// A Dendrite that had accepted events of the same depth from two servers left out "r
// 10" between the pages that end and begin at t25_2000.
func TestPagesOfDendriteOverlap(t *testing.T) {
	for token, want := range map[string]string{
		"t25_2000":           "t26_9223372036854775807",
		"t1_1039":            "t1_1039", // the beginning of the room
		"":                   "",
		"s12_0":              "s12_0",
		"t426-2633508_757_1": "t426-2633508_757_1", // Synapse's
		"t_":                 "t_",
	} {
		if got := mxside.Earlier(token); got != want {
			t.Errorf("Earlier(%q) = %q, want %q", token, got, want)
		}
	}
}
