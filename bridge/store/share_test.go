package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// A process that starts later gets its share of lanes that never run empty, and the
// items of lanes that move stay in order and are delivered once.
func TestAProcessThatBeginsLaterGetsItsShare(t *testing.T) {
	t.Parallel()
	url := postgresURL(t)
	const lanes, each = 16, 300
	first := open(t, url)
	for n := 0; n < each; n += 100 {
		var items []queue.Item
		for l := range lanes {
			for m := n; m < n+100; m++ {
				lane := fmt.Sprint("lane", l)
				items = append(items, queue.Item{ID: fmt.Sprintf("%s-0-%d", lane, m), Lane: lane})
			}
		}
		add(t, first, items...)
	}
	r := newReceiver()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running sync.WaitGroup
	run := func(name string, s *store.Store) {
		w := r.worker(name, s, lanes)
		deliver := w.Deliver
		w.Deliver = func(ctx context.Context, it queue.Item) ([]queue.Receipt, error) {
			<-time.After(20 * time.Millisecond) // the time a server takes to answer
			return deliver(ctx, it)
		}
		running.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	run("first", first)
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); <-time.After(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited a minute for %s", what)
			}
		}
	}
	await("every lane to be in use", func() bool { return r.byProcess("first") > 4*lanes })
	run("second", open(t, url))
	await("everything to be delivered", func() bool { return r.count() == lanes*each })
	stop()
	running.Wait()
	r.check(t, lanes, 1, each)
	t.Logf("delivered by each: %v", r.by)
	if r.by["second"] < lanes*each/8 {
		t.Errorf("the second process delivered %d of %d", r.by["second"], lanes*each)
	}
}
