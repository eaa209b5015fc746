package bridge_test

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// collector is an OpenTelemetry collector: OTLP over HTTP, as specified.
type collector struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	down  bool
	all   []byte // every request, one after the other
	spans map[string]*otlp.Span
	asked int
}

func newCollector(t *testing.T) *collector {
	c := &collector{t: t, spans: map[string]*otlp.Span{}}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	c.url = srv.URL + "/v1/traces"
	return c
}

// ServeHTTP accepts what is sent to a collector, and refuses what none would accept.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	var in otlp.TracesData // encoded like an ExportTraceServiceRequest
	switch {
	case c.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("X-Collector-Key") != "key-for-tests":
		c.t.Errorf("the collector is asked with %s %s %v", r.Method, r.URL, r.Header)
		w.WriteHeader(http.StatusBadRequest)
	case err != nil || proto.Unmarshal(body, &in) != nil:
		c.t.Error("the collector cannot read what it is sent")
		w.WriteHeader(http.StatusBadRequest)
	default:
		c.all = append(c.all, body...)
		for _, resource := range in.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					c.spans[hex.EncodeToString(s.SpanId)] = s
				}
			}
		}
	}
}

func (c *collector) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// attribute returns an attribute of a span as text, or "" if there is none.
func attribute(s *otlp.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key != key {
			continue
		}
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			return v.StringValue
		case *common.AnyValue_IntValue:
			return fmt.Sprint(v.IntValue)
		}
	}
	return ""
}

// trace waits until a message has arrived and its links are stored, and returns its trace.
func (c *collector) trace(item string) string {
	c.t.Helper()
	text := ""
	mxtest.WaitFor(c.t, "the trace of "+item, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.spans {
			if s.Name == "receive" && attribute(s, "appliance.item") == item {
				text = c.tree(s, "")
			}
		}
		return strings.Contains(text, "\n  link")
	})
	return text
}

// order is the order in which the parts of a message's way are shown. Two of them may
// begin in the same millisecond, the resolution of the database.
var order = []string{"receive", "store", "wait", "deliver", "convert", "send", "link"}

// tree formats a span and those below it.
func (c *collector) tree(s *otlp.Span, indent string) string {
	var b strings.Builder
	b.WriteString(indent + s.Name)
	for _, a := range s.Attributes {
		fmt.Fprintf(&b, " %s=%s", a.Key, attribute(s, a.Key))
	}
	if s.Status != nil && s.Status.Code == otlp.Status_STATUS_CODE_ERROR {
		fmt.Fprintf(&b, " error=%s", s.Status.Message)
	}
	b.WriteString("\n")
	var below []*otlp.Span
	for _, child := range c.spans {
		if bytes.Equal(child.ParentSpanId, s.SpanId) && bytes.Equal(child.TraceId, s.TraceId) {
			below = append(below, child)
		}
	}
	slices.SortFunc(below, func(a, b *otlp.Span) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name)), cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano))
	})
	for _, child := range below {
		b.WriteString(c.tree(child, indent+"  "))
	}
	return b.String()
}

// tracedStage returns a conversation that is traced to a collector.
func tracedStage(t *testing.T) (*stage, *collector) {
	t.Helper()
	kind := mxtest.Kind(t)
	w := worldSpec{namespace: "native", home: kind, far: mxtest.Dendrite, version: roomVersion(t, kind), noBridge: true}.start(t, &rctest.Server{Polite: true})
	c := newCollector(t)
	file := filepath.Join(w.dir, "bridge.yaml")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.write("headers", "X-Collector-Key: key-for-tests\n")
	w.write("bridge.yaml", fmt.Sprintf("%straces: {endpoint: %q, headers_file: %s/headers}\n", config, c.url, w.dir))
	w.startBridge()
	return bridgedStage(w), c
}

// TestTheTraceOfAMessage follows one message each way, compares the traces with those in
// the manual, and follows one that is received by one process and delivered by another.
// UPDATE_GOLDEN=1 rewrites the manual.
func TestTheTraceOfAMessage(t *testing.T) {
	t.Parallel()
	s, c := tracedStage(t)
	s.rc.Say(s.room, "alice", "the first words of alice") // creates her ghost
	s.findText("the first words of alice")
	s.bob.Send(s.mxRoom, "the first words of bob")
	s.messageText("the first words of bob")

	message := s.rc.Say(s.room, "alice", "a secret of alice")
	event, _ := s.findText("a secret of alice")
	inTheManual(t, "trace to Matrix", c.trace("rc:"+message), message, "MESSAGE", event, "$EVENT", s.room, "ROOM")

	event = s.bob.Send(s.mxRoom, "a secret of bob")
	message = s.messageText("a secret of bob").ID
	inTheManual(t, "trace to Rocket.Chat", c.trace(event), message, "MESSAGE", event, "$EVENT", s.mxRoom, "!ROOM")

	config, err := os.ReadFile(filepath.Join(s.dir, "bridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("bridge.yaml", string(config)+"enabled: false\n")
	mxtest.WaitFor(t, "the pause", func() bool { _, page := s.get("/metrics"); return strings.Contains(page, "appliance_bridge_enabled 0") })
	message = s.rc.Say(s.room, "alice", "another secret of alice")
	mxtest.WaitFor(t, "the message to wait", func() bool {
		_, page := s.get("/metrics")
		return strings.Contains(page, `appliance_bridge_queue_depth{direction="to_matrix"} 1`)
	})
	s.stop()
	s.write("bridge.yaml", string(config))
	s.startBridge()
	if later := c.trace("rc:" + message); !strings.Contains(later, "\n  store\n") || !strings.Contains(later, "\n  deliver ") {
		t.Errorf("a message that another process delivers:\n%s", later)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, private := range []string{"secret of", "first words", "alice", "bob", "key-for-tests"} {
		if bytes.Contains(c.all, []byte(private)) {
			t.Errorf("the collector was told %q", private)
		}
	}
	if strings.Contains(s.log.String(), "key-for-tests") {
		t.Error("the log holds what is in the headers file")
	}
}

// inTheManual compares a trace, with its identifiers replaced, with docs/monitoring.md.
func inTheManual(t *testing.T, name, trace string, replace ...string) {
	t.Helper()
	trace = strings.NewReplacer(replace...).Replace(trace)
	const file = "../docs/monitoring.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n```text\n", "```\n<!-- /"+name+" -->"
	head, rest, ok := strings.Cut(string(text), begin)
	was, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the %s", file, name)
	}
	if was == trace {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Errorf("the %s in docs/monitoring.md differs (UPDATE_GOLDEN=1 rewrites it):\n%s", name, trace)
		return
	}
	if err := os.WriteFile(file, []byte(head+begin+trace+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestACollectorThatRefusesLosesNoMessage carries messages while the collector responds with 503.
func TestACollectorThatRefusesLosesNoMessage(t *testing.T) {
	t.Parallel()
	s, c := tracedStage(t)
	c.set(true)
	for _, text := range []string{"one", "two", "three"} {
		s.rc.Say(s.room, "alice", text)
		s.findText(text)
		s.bob.Send(s.mxRoom, "and "+text)
		s.messageText("and " + text)
	}
	s.stop() // sends what is left, which is refused
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == 0 || !strings.Contains(s.log.String(), "the collector refuses traces") {
		t.Errorf("the collector was asked %d times", c.asked)
	}
}
