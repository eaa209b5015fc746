// Package metrics has the metrics that a bridge publishes for Prometheus: their names,
// units and help, and how they are counted. A Metrics counts events as they happen;
// stored data is counted at each scrape. Names are stable: a renamed metric keeps its old
// name beside the new one. Labels take few values, whatever people and servers choose.
// They are all listed in docs/metrics.md.
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"appliance/bridge/store"
)

// Store counts the stored data.
type Store interface {
	Census(ctx context.Context) (store.Census, error)
}

// Options say what is measured.
type Options struct {
	Version string
	Store   Store
	// Connected reports which of the two servers answer now.
	Connected func() (rocketchat, matrix bool)
	// Enabled reports whether messages are bridged.
	Enabled func() bool
}

// Values of the labels direction and server.
const (
	ToMatrix     = "to_matrix"
	ToRocketChat = "to_rocketchat"

	RocketChat = "rocketchat"
	Matrix     = "matrix"
)

// Metrics counts what a bridge does. Methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	carried    *prometheus.CounterVec
	delay      *prometheus.HistogramVec
	waited     *prometheus.HistogramVec
	took       *prometheus.HistogramVec
	givenUp    *prometheus.CounterVec
	reconnects *prometheus.CounterVec
	reloads    *prometheus.CounterVec
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	spans      *prometheus.CounterVec
	media      *prometheus.CounterVec
	endpoints  endpoints
}

// seconds are the histogram bounds: from one write to the disk up to an hour's outage.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600}

// New returns the metrics of a bridge that has done nothing yet.
func New(o Options) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		carried:    counter("messages_total", "Items delivered, by direction and kind.", "direction", "kind"),
		delay:      histogram("delivery_delay_seconds", "Time from the acceptance of an item to its delivery, by direction.", "direction"),
		waited:     histogram("item_wait_seconds", "Time from the acceptance of an item to its successful attempt, by kind.", "kind"),
		took:       histogram("item_delivery_seconds", "Duration of the successful attempt, by kind.", "kind"),
		givenUp:    counter("given_up_total", "Items that became dead letters, by direction and reason.", "direction", "reason"),
		reconnects: counter("reconnects_total", "Connections with a server that ended, or could not be opened, and are tried again.", "server"),
		reloads:    counter("config_reloads_total", "Reloads of bridge.yaml, by outcome: ok or refused.", "outcome"),
		requests:   counter("requests_total", "Requests to a server, by endpoint and result: ok, refused (4xx), limited (429), failed (5xx) or unreachable.", "server", "endpoint", "result"),
		durations:  histogram("request_duration_seconds", "Time until a server begins to answer a request.", "server"),
		media:      counter("media_bytes_total", "Bytes of files and pictures that a server has taken, by direction.", "direction"),
		spans:      counter("trace_spans_total", "Spans for the collector of traces, by outcome: sent, or dropped because it does not take them.", "outcome"),
	}
	m.registry.MustRegister(m.carried, m.delay, m.waited, m.took, m.givenUp, m.reconnects, m.reloads, m.requests, m.durations, m.media, m.spans,
		newStored(o), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.info(o.Version)
	// Known label values exist from the start, so that a first event shows as an increase.
	for _, server := range []string{RocketChat, Matrix} {
		m.reconnects.WithLabelValues(server)
	}
	for _, outcome := range []string{"ok", "refused"} {
		m.reloads.WithLabelValues(outcome)
	}
	m.Spans(0, 0)
	for _, direction := range []string{ToMatrix, ToRocketChat} {
		m.media.WithLabelValues(direction)
	}
	return m
}

// info publishes the version of the program. appliance_bridge_info is the older of the two names.
func (m *Metrics) info(version string) {
	build := gauge("build_info", "Always 1; the labels say which program runs.", "version", "goversion")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	old := gauge("info", "Always 1; the label is the version. appliance_bridge_build_info replaces it.", "version")
	old.WithLabelValues(version).Set(1)
	m.registry.MustRegister(build, old)
}

const prefix = "appliance_bridge_"

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: seconds}, labels)
}

// Handler serves GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Delivered counts a delivered item of a kind: how long it waited for its last attempt,
// and how long that took.
func (m *Metrics) Delivered(kind string, waited, took time.Duration) {
	direction := DirectionOf(kind)
	m.carried.WithLabelValues(direction, kind).Inc()
	m.delay.WithLabelValues(direction).Observe((waited + took).Seconds())
	m.waited.WithLabelValues(kind).Observe(waited.Seconds())
	m.took.WithLabelValues(kind).Observe(took.Seconds())
}

// GaveUp counts an item that became a dead letter.
func (m *Metrics) GaveUp(kind, reason string) {
	m.givenUp.WithLabelValues(DirectionOf(kind), reason).Inc()
}

// Reconnects counts a connection with a server that ended and is reopened.
func (m *Metrics) Reconnects(server string) { m.reconnects.WithLabelValues(server).Inc() }

// Reloaded counts a reload of bridge.yaml.
func (m *Metrics) Reloaded(ok bool) {
	outcome := "refused"
	if ok {
		outcome = "ok"
	}
	m.reloads.WithLabelValues(outcome).Inc()
}

// Spans counts spans that the trace collector has accepted, and spans that were dropped.
func (m *Metrics) Spans(sent, dropped int) {
	m.spans.WithLabelValues("sent").Add(float64(sent))
	m.spans.WithLabelValues("dropped").Add(float64(dropped))
}

// DirectionOf returns the direction of a kind of items, or of a lane; both begin with the
// side that the items come from.
func DirectionOf(kind string) string {
	if strings.HasPrefix(kind, "mx") {
		return ToRocketChat
	}
	return ToMatrix
}
