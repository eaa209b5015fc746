package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/store"
)

const monitoring = "../../docs/monitoring/"

// program finds a program of Debian's prometheus package.
func program(t *testing.T, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		mustrun.Skip(t, name+" is not installed: compose/stage/setup.sh does that")
	}
	return file
}

func TestTheAlertRules(t *testing.T) {
	promtool := program(t, "promtool")
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	rules, err := os.ReadFile(monitoring + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(monitoring + "alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- alert: "); ok && !strings.Contains(string(tests), "alertname: "+name+"\n") {
			t.Errorf("no test raises %s", name)
		}
	}
}

// dashboard holds the parts of Grafana's format that the tests read.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ W, H, X, Y int }
		Targets                  []struct{ RefID, Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	data, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDashboardIsWellFormed(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 || len(d.Panels) < 10 || len(d.Templating.List) != 2 {
		t.Fatalf("%+v", d)
	}
	seen, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if seen[p.ID] || p.Title == "" || p.Description == "" || (p.Type != "stat" && p.Type != "timeseries") {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		seen[p.ID] = true
		if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%s is at %+v", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.RefID == "" || q.Expr == "" {
				t.Errorf("%s: query %q", p.Title, q.RefID)
			}
			refs[q.RefID] = true
		}
	}
}

// busy is a store with some of everything.
type busy struct{}

func (busy) Census(context.Context) (store.Census, error) {
	return store.Census{
		ToMatrix: store.Backlog{Waiting: 3, Dead: 1, Oldest: time.Now().Add(-time.Minute)}, Portals: 2, Ghosts: 3, Puppets: 4, Media: 5, Bytes: 6,
		DeadBy: map[store.DeadKind]int64{{Side: "rc", Reason: "refused"}: 1},
	}, nil
}

type answers int

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(a), Body: http.NoBody}, nil
}

// TestTheDashboardsQueriesAreAnswered runs every query of the dashboard on a real
// Prometheus that scrapes a busy bridge.
func TestTheDashboardsQueriesAreAnswered(t *testing.T) {
	prometheus := program(t, "prometheus")
	m := idle(busy{})
	bridge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, kind := range []string{"rc.message", "mx.message"} {
			m.Delivered(kind, time.Millisecond, time.Millisecond)
		}
		for _, status := range []answers{http.StatusOK, http.StatusBadGateway} {
			req := httptest.NewRequest(http.MethodGet, "http://matrix/_matrix/client/v3/sync", http.NoBody)
			res, _ := m.Transport(Matrix, status).RoundTrip(req)
			_ = res.Body.Close()
		}
		m.Handler().ServeHTTP(w, r)
	}))
	defer bridge.Close()
	address := startPrometheus(t, prometheus, strings.TrimPrefix(bridge.URL, "http://"))
	inPlace := strings.NewReplacer("$instance", ".*", "$__rate_interval", "3s", "[1h]", "[3s]")
	for _, p := range readDashboard(t).Panels {
		for _, q := range p.Targets {
			got := ""
			mxtest.WaitFor(t, fmt.Sprintf("%s: an answer to %s", p.Title, q.Expr), func() bool {
				got = ask(t, address, inPlace.Replace(q.Expr))
				return !strings.Contains(got, `"result":[]`)
			})
			if !strings.Contains(got, `"status":"success"`) {
				t.Errorf("%s: %s: %s", p.Title, q.Expr, got)
			}
		}
	}
}

// startPrometheus runs a Prometheus until the test ends.
func startPrometheus(t *testing.T, program, target string) (address string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	_ = ln.Close()
	dir := t.TempDir()
	conf := fmt.Sprintf("global: {scrape_interval: 500ms}\nscrape_configs: [{job_name: appliance, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+address, "--log.level=error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return address
}

// ask queries a Prometheus; the result is empty while that is not running.
func ask(t *testing.T, address, expr string) string {
	t.Helper()
	res, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return `"result":[]`
	}
	defer func() { _ = res.Body.Close() }()
	var body json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		return `"result":[]`
	}
	return string(body)
}
