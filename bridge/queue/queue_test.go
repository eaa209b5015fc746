package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/queue/queuetest"
)

func TestMemory(t *testing.T) {
	queuetest.Run(t, queuetest.Subject{Fresh: func(*testing.T) queuetest.Backend { return &queuetest.Memory{} }})
}

// work runs a worker over b until stop is called.
func work(t *testing.T, b queue.Backend, deliver func(context.Context, queue.Item) ([]queue.Receipt, error)) (stop func()) {
	t.Helper()
	w := &queue.Worker{Backend: b, Deliver: deliver, Lanes: 2, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func put(t *testing.T, b queue.Backend, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := b.Add(t.Context(), time.Now(), queue.Item{ID: id, Lane: "a"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPuttingOffDoesNotUseUpFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &queuetest.Memory{}
		put(t, b, "m1")
		tries := 0
		stop := work(t, b, func(_ context.Context, it queue.Item) ([]queue.Receipt, error) {
			if tries++; tries <= 100 {
				return nil, queue.Later(time.Minute, errors.New("429"))
			}
			if it.Failures != 0 || it.Attempts != 100 {
				t.Errorf("failures = %d, attempts = %d", it.Failures, it.Attempts)
			}
			return []queue.Receipt{{RCMessage: "m1"}}, nil
		})
		time.Sleep(3 * time.Hour) // fake time
		stop()
		if tries != 101 || len(b.Receipts()) != 1 {
			t.Errorf("%d tries, receipts %v", tries, b.Receipts())
		}
	})
}

func TestPermanentBecomesADeadLetterAtOnceAndTheLaneGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &queuetest.Memory{}
		put(t, b, "m1", "m2")
		cause := errors.New("413")
		var told string
		w := &queue.Worker{Backend: b, Lanes: 1, Log: slog.New(slog.DiscardHandler),
			Deliver: func(_ context.Context, it queue.Item) ([]queue.Receipt, error) {
				if it.ID == "m1" {
					return nil, queue.Permanent("the file is too large", cause)
				}
				return nil, nil
			},
			GaveUp: func(_ context.Context, it queue.Item, err error) {
				if !errors.Is(err, cause) {
					t.Errorf("cause = %v", err)
				}
				told = it.ID + ": " + queue.Sentence(err)
			}}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = w.Run(ctx) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if told != "m1: the file is too large" {
			t.Errorf("told %q", told)
		}
		if _, waiting, _ := b.Next(t.Context(), queue.Messages, time.Now()); waiting {
			t.Error("m2 was not delivered")
		}
	})
}

func TestAnItemThatAlwaysFailsBecomesADeadLetterInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &queuetest.Memory{}
		put(t, b, "m1")
		start, tries := time.Now(), 0
		stop := work(t, b, func(context.Context, queue.Item) ([]queue.Receipt, error) {
			tries++
			return nil, errors.New("500")
		})
		time.Sleep(7 * 24 * time.Hour)
		stop()
		if dead, _ := b.DeadItems(t.Context()); len(dead) != 1 {
			t.Errorf("not given up after %d tries in %v", tries, time.Since(start))
		}
	})
}

func TestStoppingDoesNotUseUpAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &queuetest.Memory{}
		put(t, b, "m1")
		stop := work(t, b, func(ctx context.Context, _ queue.Item) ([]queue.Receipt, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		synctest.Wait()
		stop()
		it, ok, _ := b.Claim(t.Context(), queue.Messages, time.Now())
		if !ok || it.Failures != 0 || it.Attempts != 1 {
			t.Errorf("item = %+v, %v", it, ok)
		}
	})
}

func TestAPausedWorkerDeliversAfterItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &queuetest.Memory{}
		put(t, b, "m1")
		var paused, delivered atomic.Bool
		paused.Store(true)
		w := &queue.Worker{Backend: b, Lanes: 1, Log: slog.New(slog.DiscardHandler), Paused: paused.Load,
			Deliver: func(context.Context, queue.Item) ([]queue.Receipt, error) { delivered.Store(true); return nil, nil }}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = w.Run(ctx) }()
		time.Sleep(time.Hour)
		if delivered.Load() {
			t.Error("delivered while paused")
		}
		paused.Store(false)
		w.Wake()
		synctest.Wait()
		if !delivered.Load() {
			t.Error("not delivered")
		}
		cancel()
		synctest.Wait()
	})
}

// A log that keeps its lines.
type lines struct{ strings.Builder }

func TestADeliveryThatPanicsIsGivenUpAndTheNextGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &queuetest.Memory{}
		put(t, b, "m1", "m2")
		var log lines
		var told []string
		w := &queue.Worker{Backend: b, Lanes: 1, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Deliver: func(_ context.Context, it queue.Item) ([]queue.Receipt, error) {
				if it.ID == "m1" {
					panic("a word that was said")
				}
				return []queue.Receipt{{RCMessage: it.ID}}, nil
			},
			GaveUp: func(_ context.Context, it queue.Item, err error) {
				told = append(told, it.ID+": "+queue.Sentence(err))
				panic("here too")
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if dead, _ := b.DeadItems(t.Context()); len(dead) != 1 || dead[0].ID != "m1" {
			t.Errorf("dead letters: %v", dead)
		}
		if got := b.Receipts(); len(got) != 1 || got[0].RCMessage != "m2" {
			t.Errorf("delivered: %v", got)
		}
		if len(told) != 1 || told[0] != "m1: it cannot be processed" {
			t.Errorf("told: %q", told)
		}
		if strings.Contains(log.String(), "a word that was said") || !strings.Contains(log.String(), "queue_test.go") {
			t.Errorf("the log must show where, and not what:\n%s", log.String())
		}
	})
}

func TestAnItemThatIsPostponedAgainAndAgainIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &queuetest.Memory{}
		put(t, b, "m1")
		var log lines
		w := &queue.Worker{Backend: b, Lanes: 1, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Deliver: func(context.Context, queue.Item) ([]queue.Receipt, error) {
				return nil, queue.Later(time.Minute, errors.New("the account is deactivated"))
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(100*time.Minute + time.Second) // fake time
		cancel()
		<-done
		if n := strings.Count(log.String(), "the account is deactivated"); n != 4 { // the 8th, 16th, 32nd and 64th
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	})
}

// slowDisk is a backend that frees a lane long before it has stored the delivery.
type slowDisk struct {
	queuetest.Memory
	stored chan struct{} // closed when the disk is done
}

func (d *slowDisk) Done(ctx context.Context, it queue.Item, receipts []queue.Receipt, free func()) error {
	err := d.Memory.Done(ctx, it, receipts, nil)
	free()
	<-d.stored
	return err
}

// A delivery that is being stored does not hold up another.
func TestWhileOneIsStoredTheNextIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &slowDisk{stored: make(chan struct{})}
		put(t, b, "m1", "m2", "m3")
		delivered := 0
		stop := work(t, b, func(context.Context, queue.Item) ([]queue.Receipt, error) {
			delivered++
			return nil, nil
		})
		synctest.Wait()
		if delivered != 3 {
			t.Errorf("%d of 3 were delivered while the disk was busy", delivered)
		}
		close(b.stored)
		stop()
	})
}

// tries delivers items for a time, and returns when each lane was tried.
func tries(t *testing.T, until time.Duration, deliver func(lane string, at time.Duration) error, items ...queue.Item) map[string][]time.Duration {
	t.Helper()
	b, start := &queuetest.Memory{}, time.Now()
	if _, err := b.Add(t.Context(), start, items...); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	at := map[string][]time.Duration{}
	stop := work(t, b, func(_ context.Context, it queue.Item) ([]queue.Receipt, error) {
		begun := time.Since(start)
		mu.Lock()
		at[it.Lane] = append(at[it.Lane], begun)
		mu.Unlock()
		return nil, deliver(it.Lane, begun)
	})
	time.Sleep(until) // fake time
	stop()
	return at
}

func TestTheFirstDeliveryAfterAnOutageHastensTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := tries(t, 10*time.Minute, func(lane string, at time.Duration) error {
			if at >= 100*time.Second {
				return nil
			}
			pause := 15 * time.Second
			if lane == "rc:a" {
				pause = 10 * time.Second
			}
			return queue.Unavailable(pause, errors.New("502"))
		}, queue.Item{ID: "a", Lane: "rc:a"}, queue.Item{ID: "b", Lane: "rc:b"}, queue.Item{ID: "c", Lane: "mx:c"})
		for lane, want := range map[string]time.Duration{"rc:a": 100 * time.Second, "rc:b": 100 * time.Second, "mx:c": 105 * time.Second} {
			if last := at[lane][len(at[lane])-1]; last != want {
				t.Errorf("%s was delivered after %s, want %s: %v", lane, last, want, at[lane])
			}
		}
	})
}

// A room that fails on its own is not tried more often because others succeed, nor is one
// while a side is down that the other items do not need.
func TestWhatSucceedsElsewhereDoesNotHastenAgainAndAgain(t *testing.T) {
	for every, most := range map[time.Duration]int{time.Second: 7, 3 * time.Second: 10} {
		synctest.Test(t, func(t *testing.T) {
			items := []queue.Item{{ID: "bad", Lane: "rc:bad"}, {ID: "new", Lane: "rc:new"}}
			for n := range 100 {
				items = append(items, queue.Item{ID: strconv.Itoa(n), Lane: "rc:good"})
			}
			at := tries(t, 90*time.Second, func(lane string, _ time.Duration) error {
				switch lane {
				case "rc:bad":
					return queue.Unavailable(15*time.Second, errors.New("500"))
				case "rc:new":
					return queue.Unavailable(900*time.Millisecond, errors.New("500"))
				}
				time.Sleep(every) // fake time
				return nil
			}, items...)
			if n := len(at["rc:good"]); n < 30 {
				t.Errorf("%d good ones in 90 s", n)
			}
			if n := len(at["rc:bad"]); n < 6 || n > most {
				t.Errorf("good ones every %s: the bad one was tried %d times: %v", every, n, at["rc:bad"])
			}
		})
	}
}
