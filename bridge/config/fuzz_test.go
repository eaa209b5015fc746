package config_test

import (
	"testing"

	"appliance/bridge/config"
)

const fuzzed = `homeserver: {url: http://homeserver:8008, domain: chat.example.org, kind: dendrite}
appservice: {id: rocketchat, bot: rocket.cat, url: http://bridge:9000, listen: ":9000", hs_token_file: /run/hs, as_token_file: /run/as}
rocketchat: {url: http://rocketchat:3000, site_url: https://chat.example.org, user_id: abc, token_file: /run/rc, create_token_secret_file: /run/create}
database: sqlite:/data/bridge.db
namespace: native
enabled: true # people may talk
flood: {per_person: 0, per_server: 0}
`

// FuzzParse: whatever bridge.yaml contains, it is either refused or valid.
func FuzzParse(f *testing.F) {
	for _, s := range []string{fuzzed, "", "a: &a [*a]", "enabled: [true]", "homeserver: {url: ':'}\n", "flood: {per_person: 1e400}", "\xff\xfe"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("bridge.yaml", data)
		if err != nil {
			return
		}
		if p := c.Validate(); len(p) > 0 {
			t.Errorf("it was accepted with %v", p)
		}
		if again, err := config.Parse("bridge.yaml", data); err != nil || len(config.ChangedFixed(c, again)) > 0 || len(config.ChangedLive(c, again)) > 0 {
			t.Errorf("read again it is another: %v", err)
		}
	})
}

// FuzzSet: a console form changes the value that it names, and never makes the file
// unreadable.
func FuzzSet(f *testing.F) {
	for _, s := range [][2]string{{"enabled", "false"}, {"flood.per_person", "7"}, {"enabled", "{a: 1}"}, {"database", "sqlite:/x"}, {"log_level", "debug\nenabled: false"}, {"servers.allow", "[a.example, '*.b.example']"}, {"", ""}} {
		f.Add(fuzzed, s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, file, key, value string) {
		out, changed, err := config.Set("bridge.yaml", []byte(file), map[string]string{key: value})
		if err != nil {
			return
		}
		was, err := config.Parse("bridge.yaml", []byte(file))
		if err != nil {
			t.Fatalf("a broken file was changed: %v", err)
		}
		now, err := config.Parse("bridge.yaml", out)
		if err != nil {
			t.Fatalf("it cannot be read any more: %v\n%s", err, out)
		}
		if fixed := config.ChangedFixed(was, now); len(fixed) > 0 {
			t.Errorf("%s=%q changed %v", key, value, fixed)
		}
		if len(changed) > 1 || len(changed) == 1 && changed[0] != key {
			t.Errorf("%s=%q changed %v", key, value, changed)
		}
	})
}

// FuzzHeaders: a headers file is either refused or read.
func FuzzHeaders(f *testing.F) {
	f.Add([]byte("Authorization: Bearer x\n"))
	f.Add([]byte(":\n\r\n: \x00"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = config.Headers(data) })
}
