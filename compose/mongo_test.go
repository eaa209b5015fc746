package compose_test

import (
	"encoding/json"
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
