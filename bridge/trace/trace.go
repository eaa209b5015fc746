// Package trace reports to an OpenTelemetry collector which path messages took, and how
// long each step was: received and stored, waiting, converted, sent, linked. All spans of
// a message are one trace, whose ID is derived from the ID of its item. So nothing has to
// be stored with the item, and two processes that share a database report the same trace.
//
// A span contains identifiers of rooms, messages and items, and results. It never contains
// the text of a message or the name of a person. Items about people are not traced.
//
// Nothing here delays a message: spans go into a queue of fixed size, and those that do
// not fit, or that the collector does not accept, are dropped and counted.
package trace

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"

	"appliance/bridge/queue"
	"appliance/bridge/secret"
)

// Options say where spans go.
type Options struct {
	// Endpoint is the collector's address for traces: "http://collector:4318/v1/traces".
	Endpoint string
	Headers  map[string]secret.String // for each request to the collector
	Version  string                   // of this program
	Process  string                   // name among those that share the database
	// Percent is how many of a hundred messages are traced. It is called for each item.
	Percent func() int
	// Counted is called with how many spans the collector has accepted, and how many were dropped.
	Counted func(sent, dropped int)
	Log     *slog.Logger
}

// Tracer creates spans. Its methods are safe for concurrent use. A nil *Tracer creates
// none and costs nothing.
type Tracer struct {
	percent func() int
	tracer  otel.Tracer
	outbox  *outbox
}

// maxAttribute bounds the length of an attribute in bytes: no identifier is longer.
const maxAttribute = 255

// New returns a tracer, or nil if o names no endpoint.
func New(o Options) *Tracer {
	if o.Endpoint == "" {
		return nil
	}
	limits := sdk.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxAttribute
	out := newOutbox(o)
	provider := sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // wanted decides, before a span is created
		sdk.WithIDGenerator(identifiers{}),
		sdk.WithRawSpanLimits(limits),
		sdk.WithSpanProcessor(out),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "appliance-bridge"),
			attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Process),
		)),
	)
	return &Tracer{percent: o.Percent, tracer: provider.Tracer("appliance/bridge"), outbox: out}
}

// messages are the kinds of items that are traced: those of messages and of what people
// do with them. The IDs of all others name people.
var messages = func() map[string]bool {
	kinds := map[string]bool{}
	for _, k := range strings.Fields(`rc.message rc.edit rc.delete rc.files rc.react rc.pin
		mx.message mx.file mx.react mx.redact mx.call mx.poll`) {
		kinds[k] = true
	}
	return kinds
}()

// wanted reports whether an item is traced, and returns its trace and the span that is
// the parent of all others. Every process decides the same.
func (t *Tracer) wanted(item *queue.Item) (root otel.SpanContext, ok bool) {
	percent := t.percent()
	if percent <= 0 || !messages[item.Kind] {
		return otel.SpanContext{}, false
	}
	sum := sha256.Sum256([]byte("appliance trace " + item.ID))
	if int(binary.BigEndian.Uint32(sum[24:])%100) >= percent {
		return otel.SpanContext{}, false
	}
	return otel.NewSpanContext(otel.SpanContextConfig{
		TraceID: otel.TraceID(sum[:16]), SpanID: otel.SpanID(sum[16:24]), TraceFlags: otel.FlagsSampled,
	}), true
}

// Wanted returns the items that are traced.
func (t *Tracer) Wanted(items []queue.Item) []queue.Item {
	if t == nil || t.percent() <= 0 {
		return nil
	}
	var out []queue.Item
	for i := range items {
		if _, ok := t.wanted(&items[i]); ok {
			out = append(out, items[i])
		}
	}
	return out
}

// Stored reports new items that have been stored since begun. An item stored during the
// delivery of another, such as a file that follows its message, links to the trace of
// that one.
func (t *Tracer) Stored(ctx context.Context, begun time.Time, items []queue.Item) {
	if t == nil {
		return
	}
	now := time.Now()
	for i := range items {
		root, ok := t.wanted(&items[i])
		if !ok {
			continue
		}
		options := []otel.SpanStartOption{otel.WithNewRoot(), otel.WithTimestamp(begun), otel.WithSpanKind(otel.SpanKindConsumer), otel.WithAttributes(about(&items[i])...)}
		if within := otel.SpanContextFromContext(ctx); within.IsValid() {
			options = append(options, otel.WithLinks(otel.Link{SpanContext: within}))
		}
		ctx, receive := t.tracer.Start(context.WithValue(ctx, rootKey{}, root), "receive", options...)
		_, store := t.tracer.Start(ctx, "store", otel.WithTimestamp(begun))
		store.End(otel.WithTimestamp(now))
		receive.End(otel.WithTimestamp(now))
	}
}

// Delivery begins the span of an attempt to deliver an item. Spans created with the
// returned context are its children.
func (t *Tracer) Delivery(ctx context.Context, item queue.Item) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	root, ok := t.wanted(&item)
	if !ok {
		return ctx, Span{}
	}
	now := time.Now()
	ctx = otel.ContextWithRemoteSpanContext(ctx, root)
	if item.Attempts == 0 {
		_, wait := t.tracer.Start(ctx, "wait", otel.WithTimestamp(item.Accepted))
		wait.End(otel.WithTimestamp(now))
	}
	ctx, s := t.tracer.Start(context.WithValue(ctx, tracerKey{}, t), "deliver", otel.WithTimestamp(now), otel.WithAttributes(
		append(about(&item), attribute.Int("appliance.attempt", item.Attempts+1))...))
	return ctx, Span{s}
}

// about returns attributes that identify an item. Its lane is that of a room: others are not traced.
func about(item *queue.Item) []attribute.KeyValue {
	side, room, _ := strings.Cut(item.Lane, ":")
	direction := "to_matrix"
	if side == "mx" {
		direction = "to_rocketchat"
	}
	return []attribute.KeyValue{
		attribute.String("appliance.item", item.ID), attribute.String("appliance.kind", item.Kind),
		attribute.String("appliance.direction", direction), attribute.String("appliance.room", room),
	}
}

// A Span is one step of a message's path. The zero Span is not traced.
type Span struct{ span otel.Span }

// End ends a span. reason is why it failed, one of a few words, or "".
func (s Span) End(reason string) {
	if s.span == nil {
		return
	}
	if reason != "" {
		s.span.SetStatus(codes.Error, reason)
	}
	s.span.End()
}

// Done ends a span, as failed if err is not nil. The text of err may quote people and is
// not exported.
func (s Span) Done(err error) {
	if err != nil {
		s.End("failed")
		return
	}
	s.End("")
}

// Step begins a child span of the delivery that ctx belongs to. Without one it costs nothing.
func Step(ctx context.Context, name string) (context.Context, Span) {
	t, _ := ctx.Value(tracerKey{}).(*Tracer)
	if t == nil {
		return ctx, Span{}
	}
	ctx, s := t.tracer.Start(ctx, name)
	return ctx, Span{s}
}

type (
	rootKey   struct{} // holds the otel.SpanContext that a new root gets
	tracerKey struct{} // holds the *Tracer of a traced delivery
)

// identifiers implements sdk.IDGenerator.
type identifiers struct{}

// NewIDs returns the IDs of a root, which are derived from its item.
func (identifiers) NewIDs(ctx context.Context) (otel.TraceID, otel.SpanID) {
	root, _ := ctx.Value(rootKey{}).(otel.SpanContext)
	return root.TraceID(), root.SpanID()
}

// NewSpanID returns a random ID for a span below a root.
func (identifiers) NewSpanID(context.Context, otel.TraceID) (id otel.SpanID) {
	binary.BigEndian.PutUint64(id[:], 1+rand.Uint64N(1<<64-1)) //nolint:gosec // nothing secret depends on it
	return id
}
