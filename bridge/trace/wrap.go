package trace

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otel "go.opentelemetry.io/otel/trace"

	"appliance/bridge/queue"
)

// Backend returns a backend that also reports when the links of an item are stored, and
// when it becomes a dead letter.
func (t *Tracer) Backend(b queue.Backend) queue.Backend {
	if t == nil {
		return b
	}
	return backend{b, t}
}

type backend struct {
	queue.Backend
	t *Tracer
}

// Done implements queue.Backend.
func (b backend) Done(ctx context.Context, item queue.Item, receipts []queue.Receipt, free func()) error {
	s := b.t.settle(ctx, &item, "link")
	if s.span != nil {
		s.span.SetAttributes(attribute.Int("appliance.parts", len(receipts)))
		if len(receipts) > 0 {
			s.span.SetAttributes(attribute.String("appliance.rc_message", receipts[0].RCMessage), attribute.String("appliance.mx_event", receipts[0].MXEvent))
		}
	}
	err := b.Backend.Done(ctx, item, receipts, free)
	s.Done(err)
	return err
}

// GiveUp implements queue.Backend.
func (b backend) GiveUp(ctx context.Context, item queue.Item, cause error) error {
	s := b.t.settle(ctx, &item, "give up")
	err := b.Backend.GiveUp(ctx, item, cause)
	s.Done(err)
	return err
}

// settle begins a span for settling an item.
func (t *Tracer) settle(ctx context.Context, item *queue.Item, name string) Span {
	root, ok := t.wanted(item)
	if !ok {
		return Span{}
	}
	_, s := t.tracer.Start(otel.ContextWithRemoteSpanContext(ctx, root), name)
	return Span{s}
}

// Transport creates a span for each request of a delivery to a server through next.
// endpoint returns the endpoint of a path, without the parts chosen by people and
// servers. The server is sent no extra header.
func (t *Tracer) Transport(server string, next http.RoundTripper, endpoint func(server, path string) string) http.RoundTripper {
	if t == nil {
		return next
	}
	return transport{server, next, endpoint}
}

type transport struct {
	server   string
	next     http.RoundTripper
	endpoint func(server, path string) string
}

// RoundTrip implements http.RoundTripper.
func (tr transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t, _ := r.Context().Value(tracerKey{}).(*Tracer)
	if t == nil {
		return tr.next.RoundTrip(r)
	}
	_, s := t.tracer.Start(r.Context(), r.Method+" "+tr.endpoint(tr.server, r.URL.Path), otel.WithSpanKind(otel.SpanKindClient),
		otel.WithAttributes(attribute.String("appliance.server", tr.server)))
	defer s.End()
	res, err := tr.next.RoundTrip(r)
	if err != nil {
		s.SetStatus(codes.Error, "unreachable")
		return res, err
	}
	s.SetAttributes(attribute.Int("http.response.status_code", res.StatusCode))
	if res.StatusCode >= http.StatusBadRequest {
		s.SetStatus(codes.Error, "refused")
	}
	return res, nil
}
