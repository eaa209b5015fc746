// Package difftest compares what convert makes of texts with what Rocket.Chat's own
// parsers make of them, in both directions. The parsers are npm packages that
// compose/stage/setup.sh installs; docs/text.md describes the comparison.
package difftest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"appliance/bridge/mustrun"
)

// A node is a node of a tree from Rocket.Chat's own parser.
type node struct {
	Type      string          `json:"type"`
	Value     json.RawMessage `json:"value"`
	ShortCode string          `json:"shortCode"`
	Unicode   string          `json:"unicode"`
	Level     int             `json:"level"`
	Language  string          `json:"language"`
	Status    bool            `json:"status"`
	Number    int             `json:"number"`
}

func (n node) text() string {
	var s string
	if json.Unmarshal(n.Value, &s) == nil {
		return s
	}
	var inner node
	if json.Unmarshal(n.Value, &inner) == nil && inner.Value != nil {
		return inner.text()
	}
	return ""
}

func (n node) kids() []node {
	var kids []node
	_ = json.Unmarshal(n.Value, &kids)
	return kids
}

// link returns the address and the label of a link or an image.
func (n node) link() (target string, label []node) {
	var v struct {
		Src   node            `json:"src"`
		Label json.RawMessage `json:"label"`
	}
	_ = json.Unmarshal(n.Value, &v)
	if json.Unmarshal(v.Label, &label) != nil {
		var one node
		_ = json.Unmarshal(v.Label, &one)
		label = []node{one}
	}
	return v.Src.text(), label
}

// time returns the moment and the format of a timestamp.
func (n node) time() (seconds, format string) {
	var v struct{ Timestamp, Format string }
	_ = json.Unmarshal(n.Value, &v)
	return v.Timestamp, v.Format
}

// table returns the rows of a table, the headings first.
func (n node) table() [][]node {
	var v struct{ Header, Rows []node }
	_ = json.Unmarshal(n.Value, &v)
	rows := [][]node{v.Header}
	for _, r := range v.Rows {
		rows = append(rows, r.kids())
	}
	return rows
}

// parsers returns the directory of the packages: the one that APPLIANCE_PARSERS
// names, or where setup.sh puts them.
func parsers(t *testing.T) string {
	dir := os.Getenv("APPLIANCE_PARSERS")
	if dir == "" {
		cache := os.Getenv("APPLIANCE_CACHE")
		if cache == "" {
			cache = "../../../.cache"
		}
		dir = filepath.Join(cache, "parsers")
	}
	if _, err := exec.LookPath("node"); err != nil {
		mustrun.Skip(t, "node is missing: compose/stage/setup.sh installs it")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		mustrun.Skip(t, "Rocket.Chat's parsers are missing in "+dir+": compose/stage/setup.sh installs them")
	}
	return dir
}

// official parses texts with a version of Rocket.Chat's own parser.
func official(t *testing.T, version string, texts []string) [][]node {
	t.Helper()
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "../../../compose/stage/parsers/parse.mjs", parsers(t), version)
	cmd.Stdin = bytes.NewReader(in)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("Rocket.Chat's parser %s: %v\n%s", version, err, problems.String())
	}
	var trees [][]node
	if err := json.Unmarshal(out.Bytes(), &trees); err != nil || len(trees) != len(texts) {
		t.Fatalf("%d trees of %d texts: %v", len(trees), len(texts), err)
	}
	return trees
}
