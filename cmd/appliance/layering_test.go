package main

import (
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "appliance"

// allowed lists, for each tree of packages, the other trees of this module it
// may import. The longest listed prefix of a package applies; a package without
// an entry fails the test. Test files are not checked.
var allowed = map[string][]string{
	"cmd/appliance":                   {"cmd/appliance/internal/cli"},
	"cmd/appliance/internal/cli":      {"cmd/appliance/internal/ui", "cmd/appliance/internal/wizard", "provision", "bridge"},
	"cmd/appliance/internal/fakehost": {},
	"cmd/appliance/testdata/fakehost": {"cmd/appliance/internal/fakehost"},
	"cmd/appliance/internal/release":  {"cmd/appliance/internal/cli", "provision/answers", "provision/render", "provision/selfupdate"},
	"cmd/appliance/internal/ui":       {"provision"},
	"cmd/appliance/internal/wizard":   {"provision/answers"},
	"cmd/internal/manual":             {},
	"cmd/internal/benchtable":         {},
	"cmd/demo":                        {"cmd/internal/manual", "bridge/mxside", "bridge/rocketchat", "bridge/secret", "compose"},
	"cmd/rocketsim":                   {"bridge/rocketchat/rctest", "provision/external/mongotest"},

	// The root prepares, applies and reports, with the packages beside it; upgrade
	// and support are above it. Of the bridge it uses what it renders, and the
	// client with which it examines Rocket.Chat.
	"provision":                     {"provision", "bridge/config", "bridge/secret", "templates"},
	"provision/alarm":               {},
	"provision/answers":             {"bridge/ids", "provision/homeserver", "provision/internal/atomicfile"},
	"provision/archive":             {"provision/answers", "provision/backup", "provision/internal/atomicfile", "provision/offsite", "provision/plan", "provision/render", "provision/site", "provision/stack"},
	"provision/attach":              {"provision/answers", "provision/render", "provision/secrets", "bridge/secret"},
	"provision/backup":              {},
	"provision/bootstrap":           {"bridge/rocketchat", "bridge/secret", "provision/answers", "provision/render", "provision/secrets"},
	"provision/bridgedata":          {"bridge/secret", "provision/answers", "provision/plan", "provision/render", "provision/secrets", "provision/site", "provision/stack"},
	"provision/bundle":              {"provision/stack"},
	"provision/certs":               {"provision/internal/atomicfile"},
	"provision/certs/acmetest":      {},
	"provision/checkup":             {"bridge/hoststatus", "bridge/secret", "provision/alarm", "provision/answers", "provision/archive", "provision/attach", "provision/bootstrap", "provision/certs", "provision/databases", "provision/doctor", "provision/finding", "provision/internal/atomicfile", "provision/operator", "provision/plan", "provision/preflight", "provision/render", "provision/rotate", "provision/secrets", "provision/service", "provision/site"},
	"provision/conversation":        {"bridge/mxside"}, // for tests
	"provision/databases":           {"compose", "provision/site"},
	"provision/doctor":              {"bridge/secret", "provision/answers", "provision/attach", "provision/certs", "provision/finding", "provision/homeserver", "provision/plan", "provision/render"},
	"provision/external":            {"provision/answers", "provision/certs", "provision/finding", "provision/homeserver", "provision/offsite", "provision/render", "provision/stack"},
	"provision/external/mongotest":  {}, // for tests and the simulator
	"provision/finding":             {},
	"provision/homeserver":          {"bridge/config"},
	"provision/internal/atomicfile": {},
	"provision/kubernetes":          {"provision/answers", "provision/attach", "provision/certs", "provision/internal/atomicfile", "provision/render", "provision/secrets", "provision/settings", "provision/site", "templates", "bridge/config"},
	"provision/media":               {"provision/external", "provision/homeserver", "provision/site"},
	"provision/offsite":             {},
	"provision/operator":            {"bridge/config", "bridge/secret", "provision/plan", "provision/site"},
	"provision/plan":                {"provision/answers", "provision/render", "provision/secrets", "bridge/config"},
	"provision/preflight":           {"provision/answers", "provision/attach", "provision/external", "provision/finding", "provision/stack"},
	"provision/render":              {"provision/answers", "provision/certs", "provision/homeserver", "provision/secrets", "templates", "compose", "nginx", "bridge/config", "bridge/ids", "bridge/secret"},
	"provision/rotate":              {"bridge/rocketchat", "bridge/secret", "compose", "provision/answers", "provision/bootstrap", "provision/render", "provision/secrets", "provision/site", "provision/stack"},
	"provision/secrets":             {"provision/internal/atomicfile", "bridge/secret"},
	"provision/selfupdate":          {},
	"provision/service":             {"provision/render", "provision/site", "provision/stack"},
	"provision/settings":            {"bridge/config", "provision/answers", "provision/internal/atomicfile", "provision/plan", "provision/site"},
	"provision/site":                {"provision/answers", "provision/internal/atomicfile", "provision/plan", "provision/stack"},
	"provision/stack":               {"bridge/secret", "provision/plan", "provision/render", "provision/internal/atomicfile", "provision/trace"},
	"provision/support":             {"bridge/config", "bridge/secret", "provision", "provision/checkup", "provision/homeserver"}, // it collects what all of them know
	"provision/swarm":               {"provision/answers", "provision/render", "provision/secrets"},
	"provision/synapseadmin":        {"bridge/secret", "provision/answers", "provision/external", "provision/homeserver", "provision/render", "provision/secrets", "provision/site"},
	"provision/trace":               {},
	"provision/upgrade":             {"provision"}, // it prepares, saves, applies and examines

	"bridge/hoststatus": {}, // both programs read and write it

	"bridge":         {"bridge"},
	"bridge/command": {"bridge/config", "bridge/ids", "bridge/relay", "bridge/rocketchat", "bridge/secret"},
	"bridge/config":  {"bridge/config", "bridge/ids", "bridge/secret"},
	"bridge/console": {"bridge/hoststatus", "bridge/secret"},
	"bridge/convert": {"bridge/convert", "bridge/ids", "bridge/rocketchat"},
	"bridge/event":   {"bridge/convert", "bridge/ids", "bridge/queue", "bridge/rocketchat"},
	"bridge/ids":     {},
	"bridge/metrics": {"bridge/store"},
	"bridge/mxside":  {"bridge/mxside", "bridge/config", "bridge/convert", "bridge/event", "bridge/ids", "bridge/pause", "bridge/queue", "bridge/relay", "bridge/secret", "bridge/stall", "bridge/mustrun"},
	"bridge/pause":   {},
	"bridge/queue":   {"bridge/queue"},
	"bridge/rcside":  {"bridge/config", "bridge/convert", "bridge/event", "bridge/ids", "bridge/pause", "bridge/queue", "bridge/relay", "bridge/rocketchat", "bridge/secret"},
	"bridge/trace":   {"bridge/pause", "bridge/queue", "bridge/secret"},
	"bridge/relay":   {"bridge/trace", "bridge/relay", "bridge/config", "bridge/convert", "bridge/event", "bridge/ids", "bridge/queue", "bridge/rocketchat"},
	// The relay's concepts: the model at the bottom, and the two directions on top, which never meet.
	"bridge/relay/model":        {"bridge/event", "bridge/ids", "bridge/queue", "bridge/rocketchat", "bridge/secret"},
	"bridge/relay/transfer":     {"bridge/relay/model"},
	"bridge/relay/notice":       {"bridge/relay/model", "bridge/ids", "bridge/rocketchat"},
	"bridge/relay/people":       {"bridge/relay/model", "bridge/config", "bridge/convert", "bridge/event", "bridge/ids", "bridge/queue"},
	"bridge/relay/roomstate":    {"bridge/relay/model", "bridge/relay/people", "bridge/relay/transfer", "bridge/convert", "bridge/ids"},
	"bridge/relay/ephemeral":    {"bridge/relay/model", "bridge/relay/people", "bridge/config", "bridge/ids"},
	"bridge/relay/portal":       {"bridge/relay/model", "bridge/relay/notice", "bridge/relay/people", "bridge/relay/roomstate", "bridge/config", "bridge/convert", "bridge/event", "bridge/ids", "bridge/queue", "bridge/rocketchat"},
	"bridge/relay/membership":   {"bridge/relay/model", "bridge/relay/people", "bridge/relay/portal", "bridge/config", "bridge/ids"},
	"bridge/relay/tomatrix":     {"bridge/trace", "bridge/relay/membership", "bridge/relay/model", "bridge/relay/notice", "bridge/relay/people", "bridge/relay/portal", "bridge/relay/roomstate", "bridge/relay/transfer", "bridge/config", "bridge/convert", "bridge/event", "bridge/ids", "bridge/queue", "bridge/rocketchat"},
	"bridge/relay/torocketchat": {"bridge/trace", "bridge/relay/ephemeral", "bridge/relay/membership", "bridge/relay/model", "bridge/relay/notice", "bridge/relay/people", "bridge/relay/portal", "bridge/relay/roomstate", "bridge/relay/transfer", "bridge/config", "bridge/convert", "bridge/event", "bridge/ids", "bridge/queue", "bridge/rocketchat"},

	"bridge/rocketchat":        {"bridge/rocketchat", "bridge/secret", "bridge/stall"},
	"bridge/rocketchat/rctest": {"bridge/rocketchat/rctest", "bridge/mustrun"}, // an independent view of Rocket.Chat
	"bridge/secret":            {},
	"bridge/stall":             {},
	"bridge/store":             {"bridge/ids", "bridge/queue", "bridge/relay", "bridge/secret"},

	"bridge/mustrun": {}, // for tests

	"templates": {},
	"compose":   {},
	"nginx":     {},
}

// homes lists the packages that may import a technology. A path that ends in a
// slash stands for everything below it.
var homes = []struct {
	technology string
	packages   []string
}{
	{"os/exec", []string{"provision/stack", "cmd/demo", "bridge/mxside/mxtest", "bridge/rocketchat/rctest"}},
	{"github.com/docker/docker/", []string{"provision/stack"}},
	{"github.com/compose-spec/", nil}, // in tests only
	{"database/sql", []string{"bridge/store"}},
	{"modernc.org/sqlite", []string{"bridge/store"}},
	{"github.com/jackc/pgx/", []string{"bridge/store", "bridge/mxside/mxtest", "provision/external"}},
	{"go.mongodb.org/mongo-driver/", []string{"provision/external"}},
	{"github.com/coder/websocket", []string{"bridge/rocketchat/ddp", "bridge/rocketchat/rctest", "cmd/demo"}},
	{"maunium.net/go/mautrix/event", []string{"bridge/mxside", "bridge/convert", "bridge/ids"}},
	{"maunium.net/go/mautrix/format", []string{"bridge/mxside", "bridge/convert", "bridge/ids"}},
	{"maunium.net/go/mautrix/id", []string{"bridge/mxside", "bridge/convert", "bridge/ids"}},
	{"maunium.net/go/mautrix", []string{"bridge/mxside", "cmd/demo"}},
	{"golang.org/x/crypto/acme/autocert", []string{"provision/certs"}},
	{"github.com/letsencrypt/pebble/", []string{"provision/certs/acmetest"}},
	{"github.com/miekg/dns", []string{"provision/preflight", "provision/certs/acmetest"}},
	{"go.opentelemetry.io/", []string{"bridge/trace"}},
	{"aead.dev/minisign", []string{"provision/selfupdate", "cmd/appliance/internal/release"}},
	{"github.com/wneessen/go-mail", []string{"provision/alarm"}},
	{"github.com/minio/minio-go/", []string{"provision/offsite"}},
	{"github.com/pkg/sftp", []string{"provision/offsite"}},
	{"golang.org/x/crypto/ssh", []string{"provision/offsite"}},
	{"filippo.io/age", []string{"provision/backup"}},
	{"github.com/klauspost/compress", []string{"provision/backup"}},
	{"github.com/spf13/cobra", []string{"cmd/appliance/internal/cli", "cmd/appliance/internal/release"}},
	{"github.com/AlecAivazis/survey/", []string{"cmd/appliance/internal/wizard"}},
	{"testing", []string{"bridge/rocketchat/rctest", "bridge/mxside/mxtest", "bridge/queue/queuetest", "bridge/mustrun", "provision/certs/acmetest", "provision/conversation"}},
}

// pure lists packages that decide and hold most of the tests, with what they must not import.
var pure = map[string][]string{
	"provision/plan":       {"os", "net", "net/http", "time"},
	"provision/render":     {"os", "net", "net/http", "time"},
	"provision/finding":    {"os", "net", "net/http"},
	"provision/homeserver": {"os", "net", "net/http", "time"},
	"bridge/ids":           {"os", "net", "net/http", "context"},
	"bridge/pause":         {"os", "net", "net/http", "context"},
	"bridge/convert":       {"os", "net", "net/http", "context"},
	"bridge/event":         {"os", "net", "net/http", "context"},
}

// below reports whether pkg is tree or lies below it.
func below(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }

// homeless returns why pkg must not import a technology, or "".
func homeless(pkg, imp string) string {
	for _, h := range homes {
		if imp != strings.TrimSuffix(h.technology, "/") && !strings.HasPrefix(imp, strings.TrimSuffix(h.technology, "/")+"/") {
			continue
		}
		if !slices.ContainsFunc(h.packages, func(p string) bool { return below(pkg, p) }) {
			return "the home of " + h.technology + " is " + strings.Join(h.packages, ", ")
		}
		return ""
	}
	return ""
}

// rule returns the allow list for pkg.
func rule(pkg string) (list []string, ok bool) {
	for p := pkg; p != "."; p = path.Dir(p) {
		if list, ok := allowed[p]; ok {
			return list, true
		}
	}
	return nil, false
}

// TestLayering checks the dependencies between packages, and requires a package comment everywhere. It
// opens the source files itself instead of running `go list`, so that the test cache notices changes.
func TestLayering(t *testing.T) {
	const root = "../.."
	documented := map[string]bool{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != root || name == root+"/compose/stage") {
			return filepath.SkipDir // caches, and tools that are modules of their own
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		if built, err := build.Default.MatchFile(filepath.Dir(name), d.Name()); err != nil || !built {
			return err // behind a build tag
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		documented[pkg] = documented[pkg] || file.Doc != nil
		list, ok := rule(pkg)
		if !ok {
			t.Errorf("%s: %s has no entry in the layering table", name, pkg)
		}
		for _, spec := range file.Imports {
			full, _ := strconv.Unquote(spec.Path.Value)
			imp, ours := strings.CutPrefix(full, module+"/")
			if ours && !slices.ContainsFunc(list, func(tree string) bool { return below(imp, tree) }) {
				t.Errorf("%s: %s must not import %s", name, pkg, imp)
			}
			if why := homeless(pkg, full); why != "" {
				t.Errorf("%s: %s must not import %s: %s", name, pkg, full, why)
			}
			if slices.Contains(pure[pkg], full) {
				t.Errorf("%s: %s is pure and must not import %s", name, pkg, full)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}
