package selfupdate_test

import (
	"testing"

	"appliance/provision/selfupdate"
)

// The newest release is determined from its signature alone: the program is not downloaded, and
// signatures by others do not count.
func TestTheNewestRelease(t *testing.T) {
	r := newRelease(t, program("new", 100))
	ask := func(have string, keys ...string) (string, bool, error) {
		return selfupdate.Newest(t.Context(), selfupdate.Options{Release: r.URL + "/v2", Keys: keys, Version: have, Client: r.Client()})
	}
	for have, want := range map[string]bool{"v1.9.9": true, "v2.0.0": false, "v2.0.1": false, "devel": true} {
		if version, newer, err := ask(have, public(r.key)); err != nil || version != "v2.0.0" || newer != want {
			t.Errorf("of %s: %s, %v, %v", have, version, newer, err)
		}
	}
	if version, newer, err := ask("v1.0.0", public(newKey(t))); err == nil || newer || version != "" {
		t.Errorf("signed by others: %s, %v, %v", version, newer, err)
	}
	if _, newer, err := ask("v1.0.0"); err == nil || newer {
		t.Errorf("without a key: %v, %v", newer, err)
	}
	if _, _, err := selfupdate.Newest(t.Context(), selfupdate.Options{Release: "http://releases.example.org", Keys: []string{public(r.key)}}); err == nil {
		t.Error("asked without https")
	}
	if asked := r.asked(); len(asked) != 0 {
		t.Errorf("the program was downloaded: %v", asked)
	}
}
