package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	collected "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"appliance/bridge/pause"
	"appliance/bridge/secret"
)

const (
	maxWaiting = 2048             // queued spans, about 2 kB each
	maxBatch   = 512              // spans in one request
	gather     = time.Second      // how long a batch waits for more spans
	patience   = 10 * time.Second // for one request
	tries      = 5                // for one batch
	farewell   = 2 * time.Second  // for the rest at the end
)

// An outbox sends spans to the collector. It implements sdk.SpanProcessor. It never
// blocks: spans that do not fit are dropped.
type outbox struct {
	spans    chan sdk.ReadOnlySpan
	client   *client
	exporter *otlptrace.Exporter // encodes for client
	counted  func(sent, dropped int)
	log      *slog.Logger
	refused  bool // the collector did not accept the last batch; used only by run
}

func newOutbox(o Options) *outbox {
	c := newClient(o.Endpoint, o.Headers)
	return &outbox{
		spans: make(chan sdk.ReadOnlySpan, maxWaiting), counted: o.Counted, log: o.Log,
		client: c, exporter: otlptrace.NewUnstarted(c),
	}
}

// OnStart implements sdk.SpanProcessor.
func (*outbox) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor. It never blocks.
func (b *outbox) OnEnd(s sdk.ReadOnlySpan) {
	select {
	case b.spans <- s:
	default:
		b.counted(0, 1)
	}
}

// Shutdown implements sdk.SpanProcessor. The stop function of Start does the work.
func (*outbox) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdk.SpanProcessor. It is not used.
func (*outbox) ForceFlush(context.Context) error { return nil }

// Start sends spans until stop is called, which sends the rest and returns after two
// seconds at the latest.
func (t *Tracer) Start() (stop func()) {
	if t == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan []sdk.ReadOnlySpan, 1)
	go func() { left <- t.outbox.run(ctx) }()
	return func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		t.outbox.rest(ctx, <-left)
		t.outbox.client.http.CloseIdleConnections()
	}
}

// run sends batches until ctx ends, and returns the one that was not sent.
func (b *outbox) run(ctx context.Context) (left []sdk.ReadOnlySpan) {
	for ctx.Err() == nil {
		batch := b.batch(ctx)
		if !b.send(ctx, batch) {
			return batch
		}
	}
	return nil
}

// batch returns spans: as many as fit, or those that arrived within a moment.
func (b *outbox) batch(ctx context.Context) []sdk.ReadOnlySpan {
	var batch []sdk.ReadOnlySpan
	select {
	case s := <-b.spans:
		batch = append(batch, s)
	case <-ctx.Done():
		return nil
	}
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for len(batch) < maxBatch {
		select {
		case s := <-b.spans:
			batch = append(batch, s)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// rest sends a batch and all queued spans, once each.
func (b *outbox) rest(ctx context.Context, batch []sdk.ReadOnlySpan) {
	for {
		for len(batch) < maxBatch && len(b.spans) > 0 {
			batch = append(batch, <-b.spans)
		}
		if len(batch) == 0 {
			return
		}
		b.outcome(batch, b.exporter.ExportSpans(ctx, batch))
		batch = nil
	}
}

// send sends a batch, and retries after a pause if that may help. ok is false if ctx
// ended before the result was known.
func (b *outbox) send(ctx context.Context, batch []sdk.ReadOnlySpan) (ok bool) {
	var err error
	for try := 1; try <= tries; try++ {
		err = b.exporter.ExportSpans(ctx, batch)
		if err == nil || !errors.Is(err, errLater) {
			break
		}
		timer := time.NewTimer(pause.Spread(pause.After(try, time.Second, 15*time.Second)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	if ctx.Err() != nil && err != nil {
		return false
	}
	b.outcome(batch, err)
	return true
}

// outcome counts a batch, and logs when the collector starts or stops accepting them.
func (b *outbox) outcome(batch []sdk.ReadOnlySpan, err error) {
	if err == nil {
		b.counted(len(batch), 0)
		if b.refused {
			b.log.Info("the collector accepts traces again")
		}
	} else {
		b.counted(0, len(batch))
		if !b.refused {
			b.log.Warn("the collector refuses traces: spans are dropped and counted; messages are not affected", "err", err)
		}
	}
	b.refused = err != nil
}

// client sends spans by OTLP over HTTP (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP").
// It implements otlptrace.Client. The library's own client links gRPC, which makes the
// program 2 MB larger.
type client struct {
	endpoint string
	headers  map[string]secret.String
	http     *http.Client
}

func newClient(endpoint string, headers map[string]secret.String) *client {
	return &client{endpoint: endpoint, headers: headers, http: &http.Client{
		Timeout: patience,
		// Headers contain secrets, which must not be sent to any other address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: patience},
	}}
}

// Start implements otlptrace.Client.
func (*client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (*client) Stop(context.Context) error { return nil }

// errLater is wrapped by errors that a retry may resolve.
var errLater = errors.New("another attempt may help")

// UploadTraces implements otlptrace.Client. TracesData has the same encoding as the
// protocol's request.
func (c *client) UploadTraces(ctx context.Context, spans []*collected.ResourceSpans) error {
	body, err := proto.Marshal(&collected.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	for name, value := range c.headers {
		r.Header.Set(name, value.Reveal())
	}
	res, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errLater, err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection is reused
	switch {
	case res.StatusCode < http.StatusMultipleChoices:
		return nil
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= http.StatusBadGateway && res.StatusCode <= http.StatusGatewayTimeout:
		return fmt.Errorf("%w: the collector answers %s", errLater, res.Status)
	}
	return fmt.Errorf("the collector answers %s", res.Status)
}
