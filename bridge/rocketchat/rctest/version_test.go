package rctest_test

import (
	"strings"
	"testing"

	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/rocketchat/rctest/sim"
)

// Everybody may see major.minor, and whoever may see statistics all of it.
func TestTheVersionIsWhatWasAskedFor(t *testing.T) {
	for asked, full := range map[string]string{"7.2": "7.2.0", "8.3": "8.3.0", "8.6": "8.6.1", "": "8.6.1"} {
		s := &rctest.Server{Simulator: true, Polite: true, Version: asked}
		s.Start(t)
		short := full[:strings.LastIndexByte(full, '.')]
		if _, v, _ := (client{t: t, s: s}).do("GET", "/api/info", nil); v["version"] != short {
			t.Errorf("%q to strangers: %v", asked, v)
		}
		if _, v, _ := admin(t, s).do("GET", "/api/info", nil); v["version"] != full || dig(v, "info", "version") != full {
			t.Errorf("%q to administrators: %v", asked, v)
		}
	}
	if _, err := sim.New(sim.Options{Version: "6.5"}); err == nil || !strings.Contains(err.Error(), "7.2, 8.3, 8.6") {
		t.Errorf("a version that cannot be simulated: %v", err)
	}
}
