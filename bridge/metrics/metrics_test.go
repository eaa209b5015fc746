package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"appliance/bridge/store"
)

type noStore struct{ err error }

func (s noStore) Census(context.Context) (store.Census, error) { return store.Census{}, s.err }

func idle(s Store) *Metrics {
	return New(Options{Version: "1", Store: s, Connected: func() (bool, bool) { return true, false }, Enabled: func() bool { return true }})
}

func (m *Metrics) page() string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

var described = regexp.MustCompile(`fqName: "([^"]+)", help: "([^"]+)", .*variableLabels: \{([^}]*)\}`)

// table returns the table of docs/metrics.md: all of our metrics.
func table(t *testing.T) string {
	t.Helper()
	m := idle(noStore{})
	var rows []string
	add := func(kind string, c prometheus.Collector) {
		ch := make(chan *prometheus.Desc, 100)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			f := described.FindStringSubmatch(d.String())
			if f == nil {
				t.Fatalf("%s cannot be read", d)
			}
			labels := strings.ReplaceAll(f[3], ",", ", ")
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", f[1], kind, labels, f[2]))
		}
	}
	for _, c := range []prometheus.Collector{m.carried, m.givenUp, m.reconnects, m.reloads, m.requests, m.media, m.spans} {
		add("counter", c)
	}
	for _, c := range []prometheus.Collector{m.delay, m.waited, m.took, m.durations} {
		add("histogram", c)
	}
	add("gauge", newStored(Options{}))
	add("gauge", gauge("build_info", "Always 1; the labels say which program runs.", "version", "goversion"))
	add("gauge", gauge("info", "Always 1; the label is the version. appliance_bridge_build_info replaces it.", "version"))
	slices.Sort(rows)
	return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + strings.Join(rows, "")
}

// TestTheTableOfMetrics keeps docs/metrics.md in step with what the bridge
// publishes. UPDATE_GOLDEN=1 rewrites it.
func TestTheTableOfMetrics(t *testing.T) {
	const file, begin, end = "../../docs/metrics.md", "<!-- metrics -->\n", "<!-- /metrics -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatal("docs/metrics.md has no place for the table")
	}
	want := slices.Concat(head, []byte(begin+table(t)+end), tail)
	if bytes.Equal(text, want) {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Fatal("docs/metrics.md is not what the bridge publishes; run: UPDATE_GOLDEN=1 go test ./bridge/metrics")
	}
	if err := os.WriteFile(file, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNamesHaveUnits(t *testing.T) {
	for _, row := range strings.Split(strings.TrimSpace(table(t)), "\n")[2:] {
		f := strings.Split(row, " | ")
		name, kind := strings.Trim(f[0], "|` "), f[1]
		if (kind == "counter") != strings.HasSuffix(name, "_total") || kind == "histogram" && !strings.HasSuffix(name, "_seconds") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
}

// If the database does not answer, only its own metrics are missing from the page.
func TestTheDatabaseIsDown(t *testing.T) {
	m := idle(noStore{errors.New("gone")})
	m.Delivered("mx.message", time.Second, time.Second)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	page := w.Body.String()
	for _, want := range []string{
		"appliance_bridge_database_up 0", `appliance_bridge_connected{server="rocketchat"} 1`, `appliance_bridge_connected{server="matrix"} 0`,
		`appliance_bridge_messages_total{direction="to_rocketchat",kind="mx.message"} 1`,
	} {
		if w.Code != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("%d, without %s", w.Code, want)
		}
	}
	if strings.Contains(page, "appliance_bridge_portals") {
		t.Error("numbers are shown that nobody has counted")
	}
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct{ server, path, want string }{
		{RocketChat, "/api/v1/chat.sendMessage", "chat.sendMessage"},
		{RocketChat, "/api/v1/rooms.media/someRoom", "rooms.media"},
		{RocketChat, "/api/v1/method.call/readMessages", "method.call/readMessages"},
		{RocketChat, "/file-upload/abc/holiday.jpg", "file-upload"},
		{RocketChat, "/avatar/alice", "avatar"},
		{Matrix, "/_matrix/client/v3/rooms/!room:example.org/send/m.room.message/txn1", "rooms/_/send/_/_"},
		{Matrix, "/_matrix/client/v1/media/download/example.org/abc", "media/download/_/_"},
		{Matrix, "/_matrix/media/v3/upload", "upload"},
		{Matrix, "/_matrix/client/v3/sync", "sync"},
		{Matrix, "/_matrix/client/v3/profile/@bob:example.org/displayname", "profile/_/displayname"},
	} {
		if got := Endpoint(c.server, c.path); got != c.want {
			t.Errorf("%s is %q, want %q", c.path, got, c.want)
		}
	}
}

// Values that strangers choose do not each become a metric.
func TestLabelsAreBounded(t *testing.T) {
	m := idle(noStore{})
	down := errors.New("down")
	transport := m.Transport(RocketChat, fails{down})
	for n := range 1000 {
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://rocketchat/api/v1/invented%d", n), http.NoBody)
		if res, err := transport.RoundTrip(r); !errors.Is(err, down) {
			_ = res.Body.Close()
			t.Fatal(err)
		}
	}
	page := m.page()
	if n := strings.Count(page, "appliance_bridge_requests_total{"); n > maxEndpoints+1 {
		t.Errorf("%d endpoints", n)
	}
	if !strings.Contains(page, fmt.Sprintf(`appliance_bridge_requests_total{endpoint="other",result="unreachable",server="rocketchat"} %d`, 1000-maxEndpoints)) {
		t.Error("the rest is not counted")
	}
}

type fails struct{ err error }

func (f fails) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }
