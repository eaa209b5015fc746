package config_test

import (
	"errors"
	"strings"
	"testing"

	"appliance/bridge/config"
)

const commented = `# The bridge.

# Whether it carries messages.
enabled: true

log_level: "info" # loud enough

servers:
  # Everybody,
  allow: ["*"]
  # but for these.
  deny:
    - spam.example # since May
    - "*.bad.example"

users: {allow: ["*"]}

flood:
  per_person: 10
# The end.
homeserver: {url: "http://homeserver:8008", domain: example.org}
appservice: {url: "http://bridge:29328", hs_token_file: hs, as_token_file: as}
rocketchat: {url: "http://rocketchat:3000", site_url: "https://chat.example.org", user_id: u, token_file: t, create_token_secret_file: c}
database: sqlite:/data/bridge.db
`

func TestSetChangesOneValueAndNothingElse(t *testing.T) {
	for _, c := range []struct{ key, value, was, now string }{
		{"enabled", "false", "enabled: true", "enabled: false"},
		{"log_level", "debug", `log_level: "info" # loud enough`, "log_level: debug # loud enough"},
		{"servers.allow", "a.example\nb.example", `allow: ["*"]`, "allow: [a.example, b.example]"},
		{"flood.per_person", "0", "per_person: 10", "per_person: 0"},
	} {
		out, changed, err := config.Set("bridge.yaml", []byte(commented), map[string]string{c.key: c.value})
		if want := strings.Replace(commented, c.was, c.now, 1); err != nil || string(out) != want || strings.Join(changed, " ") != c.key {
			t.Errorf("%s: %v, changed %q\n%s", c.key, err, changed, out)
		}
	}
}

func TestSetKeepsEveryComment(t *testing.T) {
	for key, value := range map[string]string{
		"servers.deny": "spam.example, other.example", "users.deny": "@eve:example.org", "flood.per_server": "7", "permissions.invite": "admin",
		"presence": "true", "public_channels": "help-*", "users.allow": "@*:example.org",
	} {
		out, changed, err := config.Set("bridge.yaml", []byte(commented), map[string]string{key: value})
		if err != nil || strings.Join(changed, " ") != key {
			t.Fatalf("%s: %v, changed %q\n%s", key, err, changed, out)
		}
		for _, remark := range []string{"# The bridge.", "# Whether it carries messages.", "# loud enough", "# Everybody,", "# but for these.", "# since May", "# The end."} {
			if !strings.Contains(string(out), remark) {
				t.Errorf("%s: %q is lost\n%s", key, remark, out)
			}
		}
		c, err := config.Parse("bridge.yaml", out)
		if got := c.Live.Texts()[key]; err != nil || got != strings.ReplaceAll(value, ", ", "\n") {
			t.Errorf("%s is %q, %v", key, got, err)
		}
	}
}

func TestSetRefusesWhatCannotBeUsed(t *testing.T) {
	for key, value := range map[string]string{
		"enabled": "perhaps", "flood.per_person": "-1", "flood.per_server": "many", "log_level": "loud", "servers.allow": "[a", "servers.deny": "a b", "users.deny": "eve",
	} {
		_, _, err := config.Set("bridge.yaml", []byte(commented), map[string]string{key: value, "typing": "false"})
		invalid, ok := errors.AsType[*config.InvalidError](err)
		if !ok || len(invalid.Problems) != 1 || invalid.Problems[0].Key != key {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range []string{"database", "homeserver.url", "no.such.key", "servers"} {
		if out, _, err := config.Set("bridge.yaml", []byte(commented), map[string]string{key: "sqlite:other"}); err == nil {
			t.Errorf("%s is accepted:\n%s", key, out)
		}
	}
}

func TestEveryLiveKeyIsExplained(t *testing.T) {
	keys := config.LiveKeys()
	if len(keys) < 15 {
		t.Fatal(keys)
	}
	values := config.Default().Live.Texts()
	for _, k := range keys {
		if len(k.Help) < 20 {
			t.Errorf("%s is not explained", k.Name)
		}
		if _, ok := values[k.Name]; !ok {
			t.Errorf("%s has no value", k.Name)
		}
	}
}
