package store_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// BenchmarkItem measures what one message costs the database: it is stored, claimed,
// and removed with its link, each in a transaction of its own on disk. The second
// figure is with a hundred thousand links in the store: it must not grow.
func BenchmarkItem(b *testing.B) {
	for _, links := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			s, err := store.Open(b.Context(), "sqlite:"+b.TempDir()+"/bridge.db")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			fill(b, s, links)
			b.ResetTimer()
			for i := range b.N {
				one(b, s, fmt.Sprint("new", i), nil)
			}
		})
	}
}

// fill stores links a thousand at a time, as parts of one item each.
func fill(b *testing.B, s *store.Store, links int) {
	b.Helper()
	for n := 0; n < links; n += 1000 {
		receipts := make([]queue.Receipt, 1000)
		for i := range receipts {
			receipts[i] = queue.Receipt{Part: i, RCRoom: "r", RCMessage: fmt.Sprint("m", n+i), MXRoom: "!r:x", MXEvent: fmt.Sprint("$e", n+i), MXSender: "@a:x"}
		}
		one(b, s, fmt.Sprint("old", n), receipts)
	}
}

func one(b *testing.B, s *store.Store, id string, receipts []queue.Receipt) {
	b.Helper()
	ctx := b.Context()
	if _, err := s.Add(ctx, time.Now(), queue.Item{ID: id, Lane: "rc:r", Kind: "rc.message", Payload: make([]byte, 400)}); err != nil {
		b.Fatal(err)
	}
	it, ok, err := s.Claim(ctx, queue.Messages, time.Now())
	if err != nil || !ok {
		b.Fatal(ok, err)
	}
	if receipts == nil {
		receipts = []queue.Receipt{{RCRoom: "r", RCMessage: id, MXRoom: "!r:x", MXEvent: "$" + id, MXSender: "@a:x"}}
	}
	if err := s.Done(ctx, it, receipts, nil); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLanes measures what a message costs when many rooms are busy at once,
// over all of them together: they share transactions, and waits for the disk.
func BenchmarkLanes(b *testing.B) {
	for _, lanes := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			s, err := store.Open(b.Context(), "sqlite:"+b.TempDir()+"/bridge.db")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			var n atomic.Int64
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				ctx := b.Context()
				for pb.Next() {
					i := n.Add(1)
					id := fmt.Sprint("m", i)
					if _, err := s.Add(ctx, time.Now(), queue.Item{ID: id, Lane: fmt.Sprint("rc:r", i%int64(lanes)), Kind: "rc.message", Payload: make([]byte, 400)}); err != nil {
						b.Error(err)
						return
					}
					it, ok, err := s.Claim(ctx, queue.Messages, time.Now())
					if err != nil {
						b.Error(err)
						return
					}
					if !ok {
						continue // the only lane is held
					}
					receipt := queue.Receipt{RCRoom: "r", RCMessage: it.ID, MXRoom: "!r:x", MXEvent: "$" + it.ID, MXSender: "@a:x"}
					if err := s.Done(ctx, it, []queue.Receipt{receipt}, nil); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
