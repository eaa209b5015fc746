package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
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

// slowDisk is a backend that frees a lane long before it has stored what was delivered.
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

// A delivery that is being stored does not keep the place of another.
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
