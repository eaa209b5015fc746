package compose_test

import (
	"encoding/json"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
)

// A mongo is what the scripts find and leave.
type mongo struct {
	Version string   `json:"version"`
	Format  string   `json:"format"`
	Set     bool     `json:"set"`
	Primary bool     `json:"primary"`
	Users   []string `json:"users"`
	Broken  string   `json:"broken,omitempty"`
	Did     []string `json:"did"`
	Exit    int      `json:"exit"`

	Passwords map[string]string `json:"passwords,omitempty"`
	Given     any               `json:"given,omitempty"` // what the script is told
}

// runs runs a script, and returns the last line that it printed and what it left.
func (m mongo) runs(t *testing.T, script string) (last string, left mongo) {
	t.Helper()
	given, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", "testdata/mongosh.js", script, string(given)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &left); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Join(lines[max(0, len(lines)-2):len(lines)-1], ""), left
}

// TestTheScriptsForMongoDB: the health check says in which format the data is and changes
// nothing of a server that is ready; the other script raises the format, once.
func TestTheScriptsForMongoDB(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		mustrun.Skip(t, "no node; make test installs it and runs this")
	}
	const ready, raise = "mongo-ready.js", "mongo-raise.js"
	fresh := mongo{Version: "8.0.12", Format: "8.0", Primary: true}
	_, left := fresh.runs(t, ready)
	if want := []string{"initiate", "createUser rocketchat"}; left.Exit != 0 || !slices.Equal(left.Did, want) {
		t.Errorf("a new server: it did %q, exit %d", left.Did, left.Exit)
	}
	for _, c := range []struct {
		what   string
		change func(*mongo)
		script string
		last   string
		did    string
		exit   int
	}{
		{"a ready server", func(*mongo) {}, ready, `{"version":"8.0.12","featureCompatibilityVersion":"8.0"}`, "", 0},
		{"a secondary", func(m *mongo) { m.Primary = false }, ready, "not primary yet", "", 1},
		{"a server after an upgrade", func(m *mongo) { m.Version = "8.2.1" }, ready, `{"version":"8.2.1","featureCompatibilityVersion":"8.0"}`, "", 0},
		{"a server that does not tell", func(m *mongo) { m.Broken = "not now" }, ready, "no format: Error: MongoServerError: not now", "", 0},
		{"a server that knows another password of Rocket.Chat", func(m *mongo) {
			m.Passwords = map[string]string{"root": "root-password", "rocketchat": "another"}
		}, ready, `{"version":"8.0.12","featureCompatibilityVersion":"8.0","rocketchat":"refused"}`, "", 0},
		{"raised", func(m *mongo) { m.Version = "8.2.1" }, raise, `{"version":"8.2.1","featureCompatibilityVersion":"8.2"}`, "setFeatureCompatibilityVersion 8.2", 0},
		{"raised before", func(*mongo) {}, raise, `{"version":"8.0.12","featureCompatibilityVersion":"8.0"}`, "", 0},
		{"not raised", func(m *mongo) { m.Version, m.Broken = "8.2.1", "not primary" }, raise, "MongoServerError: not primary", "", 1},
	} {
		m := mongo{Version: "8.0.12", Format: "8.0", Set: true, Primary: true, Users: []string{"rocketchat"}}
		c.change(&m)
		last, left := m.runs(t, c.script)
		if last != c.last || strings.Join(left.Did, " ") != c.did || left.Exit != c.exit {
			t.Errorf("%s: it printed %q, did %q, exit %d", c.what, last, left.Did, left.Exit)
		}
	}
}

// TestTheScriptsForMongoDBReplacePasswords: whichever of the two root passwords is the
// right one, and as often as the script runs.
func TestTheScriptsForMongoDBReplacePasswords(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		mustrun.Skip(t, "no node; make test installs it and runs this")
	}
	type pair map[string]string
	users := map[string]pair{"root": {"now": "new-root", "was": "root-password"}, "rocketchat": {"now": "new", "was": "password"}}
	change := map[string]any{"change": true, "root": users["root"], "users": users}
	ask := map[string]any{"users": users}
	fresh := map[string]string{"root": "root-password", "rocketchat": "password"}
	done := map[string]string{"root": "new-root", "rocketchat": "new"}
	for _, c := range []struct {
		what   string
		before map[string]string
		given  any
		broken string
		last   string
		left   map[string]string
		exit   int
	}{
		{"asked before", fresh, ask, "", `{"rocketchat":{"was":true,"now":false},"root":{"was":true,"now":false}}`, fresh, 0},
		{"changed", fresh, change, "", `{"rocketchat":{"was":false,"now":true},"root":{"was":false,"now":true}}`, done, 0},
		{"changed again", done, change, "", `{"rocketchat":{"was":false,"now":true},"root":{"was":false,"now":true}}`, done, 0},
		{"half changed", map[string]string{"root": "root-password", "rocketchat": "new"}, change, "", `{"rocketchat":{"was":false,"now":true},"root":{"was":false,"now":true}}`, done, 0},
		{"a password that nobody knows", map[string]string{"root": "x", "rocketchat": "password"}, change, "", "neither the new nor the old password of root signs in", map[string]string{"root": "x", "rocketchat": "password"}, 1},
		{"a server that refuses", fresh, change, "not primary", "MongoServerError: not primary", fresh, 1},
	} {
		last, left := mongo{Version: "8.0.12", Format: "8.0", Set: true, Primary: true, Passwords: c.before, Given: c.given, Broken: c.broken}.runs(t, "mongo-rotate.js")
		if last != c.last || !maps.Equal(left.Passwords, c.left) || left.Exit != c.exit {
			t.Errorf("%s: it printed %q, left %v, exit %d", c.what, last, left.Passwords, left.Exit)
		}
	}
}
