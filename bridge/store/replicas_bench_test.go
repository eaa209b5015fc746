package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// BenchmarkReplicas measures how many messages in 64 rooms one and two processes carry on
// one PostgreSQL, to servers that answer at once and to ones that take ten milliseconds:
// each process accepts a share in transactions of a hundred, and delivers.
func BenchmarkReplicas(b *testing.B) {
	for _, answer := range []time.Duration{0, 10 * time.Millisecond} {
		for _, replicas := range []int{1, 2} {
			b.Run(fmt.Sprintf("answer=%v/replicas=%d", answer, replicas), func(b *testing.B) { carry(b, replicas, answer) })
		}
	}
}

func carry(b *testing.B, replicas int, answer time.Duration) {
	url := postgresURL(b)
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var running sync.WaitGroup
	delivered := make(chan struct{}, b.N)
	all := make([]*store.Store, replicas)
	workers := make([]*queue.Worker, replicas)
	for i := range replicas {
		s, err := store.Open(ctx, url)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		all[i] = s
		workers[i] = &queue.Worker{Backend: s, Lanes: 64, Log: slog.New(slog.DiscardHandler), Deliver: func(_ context.Context, it queue.Item) ([]queue.Receipt, error) {
			if answer > 0 {
				<-time.After(answer)
			}
			delivered <- struct{}{}
			return []queue.Receipt{{RCRoom: "r", RCMessage: it.ID, MXRoom: "!r:x", MXEvent: "$" + it.ID, MXSender: "@a:x"}}, nil
		}}
		if other, ok := any(s).(interface{ OnWork(f func()) }); ok {
			other.OnWork(workers[i].Wake)
		}
		running.Go(func() { _ = workers[i].Run(ctx) })
	}
	const rooms, batch = 64, 100
	b.ResetTimer()
	for i := range replicas {
		running.Go(func() {
			for n := i * batch; n < b.N; n += replicas * batch {
				var items []queue.Item
				for m := n; m < min(n+batch, b.N); m++ {
					items = append(items, queue.Item{ID: fmt.Sprint("m", m), Lane: fmt.Sprint("rc:r", m%rooms), Kind: "rc.message", Payload: make([]byte, 400)})
				}
				if _, err := all[i].Add(ctx, time.Now(), items...); err != nil {
					b.Error(err)
				}
				workers[i].Wake()
			}
		})
	}
	for range b.N {
		<-delivered
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	stop()
	running.Wait()
}
