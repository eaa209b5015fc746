package trace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"appliance/bridge/queue"
	"appliance/bridge/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter counts spans.
type counter struct{ sent, dropped atomic.Int64 }

func (c *counter) add(sent, dropped int) {
	c.sent.Add(int64(sent))
	c.dropped.Add(int64(dropped))
}

func all() int { return 100 }

func message(id string) queue.Item {
	return queue.Item{ID: id, Lane: "rc:room", Kind: "rc.message", Accepted: time.Now()}
}

// carry creates the spans of a message that is carried.
func carry(t *Tracer, id string) {
	item := message(id)
	t.Stored(context.Background(), time.Now(), t.Wanted([]queue.Item{item}))
	ctx, deliver := t.Delivery(context.Background(), item)
	_, step := Step(ctx, "convert")
	step.End("")
	deliver.End("")
}

const spansOfOne = 5 // receive, store, wait, deliver, convert

// TestNothingIsMadeWhenNobodyAsks counts allocations: a message that is not traced causes
// none, whether no collector is configured or none in a hundred messages is traced.
func TestNothingIsMadeWhenNobodyAsks(t *testing.T) {
	for name, tracer := range map[string]*Tracer{
		"off": nil, "none in a hundred": New(Options{Endpoint: "http://127.0.0.1:9/v1/traces", Percent: func() int { return 0 }}),
	} {
		items := []queue.Item{message("rc:one")}
		through := tracer.Transport("matrix", nowhere{}, func(string, string) string { return "x" })
		request := httptest.NewRequest(http.MethodGet, "http://matrix/x", http.NoBody)
		backend := tracer.Backend(nothing{})
		ctx := context.Background()
		if n := testing.AllocsPerRun(100, func() {
			tracer.Stored(ctx, time.Time{}, tracer.Wanted(items))
			ctx, deliver := tracer.Delivery(ctx, items[0])
			ctx, step := Step(ctx, "convert")
			_, _ = through.RoundTrip(request) //nolint:bodyclose // there is none
			step.Done(nil)
			deliver.End("")
			_ = backend.Done(ctx, items[0], nil, nil)
		}); n != 0 {
			t.Errorf("%s: %v allocations for each message", name, n)
		}
	}
}

// BenchmarkUntraced measures what tracing costs a message while no collector is configured.
func BenchmarkUntraced(b *testing.B) {
	var tracer *Tracer
	items := []queue.Item{message("rc:one")}
	b.ReportAllocs()
	for b.Loop() {
		tracer.Stored(b.Context(), time.Time{}, tracer.Wanted(items))
		ctx, deliver := tracer.Delivery(b.Context(), items[0])
		_, step := Step(ctx, "convert")
		step.Done(nil)
		deliver.End("")
	}
}

// BenchmarkTraced measures what tracing costs a message that is traced.
func BenchmarkTraced(b *testing.B) {
	tracer := New(Options{Endpoint: "http://127.0.0.1:9/v1/traces", Percent: all, Counted: func(int, int) {}})
	b.ReportAllocs()
	for b.Loop() {
		carry(tracer, "rc:one")
	}
}

type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.ErrUnsupported }

type nothing struct{ queue.Backend }

func (nothing) Done(context.Context, queue.Item, []queue.Receipt, func()) error { return nil }

// TestACollectorThatFailsDelaysNobody carries messages while the collector is down, hangs,
// or refuses them: spans are dropped and counted, and no message waits.
func TestACollectorThatFailsDelaysNobody(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"down":    func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"slow":    func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
		"503":     status(http.StatusServiceUnavailable),
		"refuses": status(http.StatusUnauthorized),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n counter
				var log strings.Builder
				tracer := New(Options{Endpoint: "http://collector/v1/traces", Headers: map[string]secret.String{"Authorization": secret.New("Bearer only-for-tests")},
					Percent: all, Counted: n.add, Log: slog.New(slog.NewTextHandler(&log, nil))})
				tracer.outbox.client.http.Transport = roundTrip(answer)
				stop := tracer.Start()
				began := time.Now() // by a clock that stands still while a goroutine works
				const messages = 2000
				for i := range messages {
					carry(tracer, fmt.Sprint("rc:", i))
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("%d messages waited for %s", messages, d)
				}
				time.Sleep(10 * time.Minute)
				stop()
				if n.sent.Load() != 0 || n.dropped.Load() != messages*spansOfOne {
					t.Errorf("%d spans were sent and %d dropped, of %d", n.sent.Load(), n.dropped.Load(), messages*spansOfOne)
				}
				if strings.Count(log.String(), "refuses traces") != 1 || strings.Contains(log.String(), "only-for-tests") {
					t.Errorf("the log: %s", log.String())
				}
			})
		})
	}
}

// TestACollectorThatComesBack receives the spans that waited meanwhile.
func TestACollectorThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n counter
		var up atomic.Bool
		tracer := New(Options{Endpoint: "http://collector/v1/traces", Percent: all, Counted: n.add, Log: slog.New(slog.DiscardHandler)})
		tracer.outbox.client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if !up.Load() {
				return status(http.StatusServiceUnavailable)(r)
			}
			return status(http.StatusOK)(r)
		})
		stop := tracer.Start()
		carry(tracer, "rc:one")
		time.Sleep(3 * time.Second)
		up.Store(true)
		time.Sleep(time.Minute)
		carry(tracer, "rc:two") // has just happened when the bridge stops
		stop()
		if n.sent.Load() != 2*spansOfOne || n.dropped.Load() != 0 {
			t.Errorf("%d spans were sent and %d dropped", n.sent.Load(), n.dropped.Load())
		}
	})
}

// TestTheHeadersStayWithTheCollector follows no redirect.
func TestTheHeadersStayWithTheCollector(t *testing.T) {
	got := make(chan string, 2)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- "elsewhere: " + r.Header.Get("X-Key") }))
	defer elsewhere.Close()
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("X-Key") + " " + r.Header.Get("Content-Type") + " " + r.URL.Path
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer collector.Close()
	var n counter
	tracer := New(Options{Endpoint: collector.URL + "/v1/traces", Headers: map[string]secret.String{"X-Key": secret.New("k")}, Percent: all, Counted: n.add, Log: slog.New(slog.DiscardHandler)})
	stop := tracer.Start()
	carry(tracer, "rc:one")
	stop()
	if first := <-got; first != "k application/x-protobuf /v1/traces" || len(got) != 0 || n.dropped.Load() != spansOfOne {
		t.Errorf("%q, and %d more; %d dropped", first, len(got), n.dropped.Load())
	}
}

// TestTwoProcessesTellOfOneTrace derives the trace of an item twice.
func TestTwoProcessesTellOfOneTrace(t *testing.T) {
	tracer := func(percent int) *Tracer {
		return New(Options{Endpoint: "http://c/v1/traces", Percent: func() int { return percent }})
	}
	item, other := message("rc:one"), message("rc:two")
	a, _ := tracer(100).wanted(&item)
	b, _ := tracer(100).wanted(&item)
	c, _ := tracer(100).wanted(&other)
	if !a.IsValid() || !a.Equal(b) || a.TraceID() == c.TraceID() {
		t.Errorf("%v, %v, %v", a, b, c)
	}
	person := queue.Item{ID: "person @bob:example.org is new", Lane: "mx:people @bob:example.org", Kind: "mx.person"}
	if _, ok := tracer(100).wanted(&person); ok {
		t.Error("an item that names a person is traced")
	}
	n := 0
	for i := range 10000 {
		item := message(fmt.Sprint("rc:", i))
		if _, ok := tracer(10).wanted(&item); ok {
			n++
		}
	}
	if n < 900 || n > 1100 {
		t.Errorf("%d of 10000 are traced, where 10 %% are wanted", n)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func status(code int) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: http.NoBody}, nil
	}
}
