package finding_test

import (
	"testing"

	"appliance/provision/finding"
)

func TestOneThingIsNotMany(t *testing.T) {
	for n, want := range map[int]string{0: "0 items wait", 1: "1 item waits", 2: "2 items wait"} {
		if got := finding.Counted(n, "item waits", "items wait"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
