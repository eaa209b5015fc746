package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"appliance/bridge/store"
)

// countedFor bounds how long counting the stored data may take.
const countedFor = 5 * time.Second

// stored counts the contents of the database at each scrape. It implements
// prometheus.Collector.
type stored struct{ Options }

func newStored(o Options) stored { return stored{o} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	connectedDesc = desc("connected", "1 while a server answers the bridge, 0 while it does not.", "server")
	enabledDesc   = desc("enabled", "1 while messages are carried, 0 while the operator has paused that.")
	upDesc        = desc("database_up", "1 when the database has answered this request, 0 when it has not.")

	depthDesc     = desc("queue_depth", "Items that wait for delivery, by direction.", "direction")
	lagDesc       = desc("queue_lag_seconds", "Age of the oldest waiting item, by direction; 0 when none waits.", "direction")
	byReasonDesc  = desc("dead_letters_by_reason", "Dead letters, by direction and reason.", "direction", "reason")
	ghostsDesc    = desc("ghosts", "Matrix users that stand for people of Rocket.Chat.")
	puppetsDesc   = desc("puppets", "Rocket.Chat users that stand for people on Matrix.")
	portalsDesc   = desc("portals", "Rooms that are connected with Matrix.")
	mediaDesc     = desc("media_files", "Files that were carried and are remembered.")
	bytesDesc     = desc("store_bytes", "Size of the database in bytes.")
	waitingDesc   = desc("items_waiting", "Items that wait for delivery, in both directions.")
	oldestDesc    = desc("oldest_item_age_seconds", "Age of the oldest waiting item of both directions; 0 when none waits.")
	deadDesc      = desc("dead_letters", "Items that were given up and kept for the operator.")
	oldDeadDesc   = desc("items_buried", "The same as appliance_bridge_dead_letters, which replaces it.")
	storedMetrics = []*prometheus.Desc{
		connectedDesc, enabledDesc, upDesc, depthDesc, lagDesc, byReasonDesc, ghostsDesc, puppetsDesc, portalsDesc, mediaDesc, bytesDesc,
		waitingDesc, oldestDesc, deadDesc, oldDeadDesc,
	}
)

// Describe implements prometheus.Collector.
func (stored) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range storedMetrics {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s stored) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	rocketchat, matrix := s.Connected()
	put(connectedDesc, flag(rocketchat), RocketChat)
	put(connectedDesc, flag(matrix), Matrix)
	put(enabledDesc, flag(s.Enabled()))
	ctx, cancel := context.WithTimeout(context.Background(), countedFor)
	defer cancel()
	c, err := s.Store.Census(ctx)
	put(upDesc, flag(err == nil))
	if err != nil {
		return // the rest is unknown now
	}
	now := time.Now()
	for direction, lane := range map[string]store.Backlog{ToMatrix: c.ToMatrix, ToRocketChat: c.ToRocketChat} {
		put(depthDesc, float64(lane.Waiting), direction)
		put(lagDesc, age(now, lane.Oldest), direction)
	}
	for d, n := range c.DeadBy {
		put(byReasonDesc, float64(n), DirectionOf(d.Side), d.Reason)
	}
	put(ghostsDesc, float64(c.Ghosts))
	put(puppetsDesc, float64(c.Puppets))
	put(portalsDesc, float64(c.Portals))
	put(mediaDesc, float64(c.Media))
	put(bytesDesc, float64(c.Bytes))
	put(waitingDesc, float64(c.ToMatrix.Waiting+c.ToRocketChat.Waiting))
	put(oldestDesc, max(age(now, c.ToMatrix.Oldest), age(now, c.ToRocketChat.Oldest)))
	put(deadDesc, float64(c.ToMatrix.Dead+c.ToRocketChat.Dead))
	put(oldDeadDesc, float64(c.ToMatrix.Dead+c.ToRocketChat.Dead))
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func age(now, since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(0, now.Sub(since).Seconds())
}
