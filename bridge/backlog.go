package bridge

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"appliance/bridge/store"
)

// backlog counts the items in the database whenever it is asked.
type backlog struct{ store *store.Store }

var (
	waitingDesc = prometheus.NewDesc("appliance_bridge_items_waiting", "Items that wait for delivery.", nil, nil)
	deadDesc    = prometheus.NewDesc("appliance_bridge_dead_letters", "Items that were given up and kept for the operator.", nil, nil)
	oldDeadDesc = prometheus.NewDesc("appliance_bridge_items_buried", "The same as appliance_bridge_dead_letters, which replaces it.", nil, nil)
	oldestDesc  = prometheus.NewDesc("appliance_bridge_oldest_item_age_seconds", "Age of the oldest waiting item.", nil, nil)
)

// Describe implements prometheus.Collector.
func (backlog) Describe(ch chan<- *prometheus.Desc) {
	ch <- waitingDesc
	ch <- deadDesc
	ch <- oldDeadDesc
	ch <- oldestDesc
}

// Collect implements prometheus.Collector.
func (b backlog) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	now, err := b.store.Backlog(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(waitingDesc, err)
		return
	}
	age := 0.0
	if !now.Oldest.IsZero() {
		age = time.Since(now.Oldest).Seconds()
	}
	ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(now.Waiting))
	ch <- prometheus.MustNewConstMetric(deadDesc, prometheus.GaugeValue, float64(now.Dead))
	ch <- prometheus.MustNewConstMetric(oldDeadDesc, prometheus.GaugeValue, float64(now.Dead))
	ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age)
}
