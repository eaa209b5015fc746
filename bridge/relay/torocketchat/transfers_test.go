package torocketchat

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

func never(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// there reports that both servers answer.
func there(context.Context) error { return nil }

func TestAMessageWaitsForItsFileForAMomentOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransfers(there)
		began := time.Now()
		if err := tr.prompt(t.Context(), "evil.example", 1<<40, never); !errors.Is(err, model.ErrSlow) || time.Since(began) != maxFileTime {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		began = time.Now()
		if err := tr.prompt(t.Context(), "evil.example", 1, never); !errors.Is(err, model.ErrSlow) || time.Since(began) != 0 {
			t.Errorf("the next file of the server: %v after %v", err, time.Since(began))
		}
		if err := tr.prompt(t.Context(), "good.example", 1, func(context.Context) error { return nil }); err != nil {
			t.Errorf("another server: %v", err)
		}
		time.Sleep(slowFor) // fake time
		if err := tr.prompt(t.Context(), "evil.example", 1, func(context.Context) error { return nil }); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

func TestFilesDoNotTakeEveryPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransfers(there)
		for n := range fileSlots {
			go func() { _ = tr.prompt(t.Context(), strings.Repeat("x", n+1), 1<<40, never) }()
		}
		synctest.Wait()
		began := time.Now()
		if err := tr.prompt(t.Context(), "one.more", 1, never); !errors.Is(err, model.ErrSlow) || time.Since(began) != fileSlotWait {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if fileSlots >= model.Lanes {
			t.Error("files may take every place")
		}
		time.Sleep(maxFileTime)
	})
}

// A file that arrives late shows that its server does send files, but that does not count again and again.
func TestAServerThatSendsALateFileIsTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransfers(there)
		stall := func() {
			t.Helper()
			began := time.Now()
			if err := tr.prompt(t.Context(), "far.example", 1, never); !errors.Is(err, model.ErrSlow) || time.Since(began) != minFileTime {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			tr.arrived("far.example")
		}
		stall()
		stall()
		if err := tr.prompt(t.Context(), "far.example", 1, there); !errors.Is(err, model.ErrSlow) {
			t.Errorf("after the second one: %v", err)
		}
		time.Sleep(slowFor) // fake time
		stall()
		if err := tr.prompt(t.Context(), "far.example", 1, there); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// A homeserver or a Rocket.Chat that is away is not the fault of the file's server.
func TestAServerIsNotSlowWhileOursIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := model.ErrUnavailable
		tr := newTransfers(func(context.Context) error { return away })
		if err := tr.prompt(t.Context(), "far.example", 1, never); !errors.Is(err, model.ErrUnavailable) {
			t.Errorf("while it is away: %v", err)
		}
		if away = nil; tr.isSlow("far.example") {
			t.Error("the server counts as slow")
		}
	})
}

func TestAStopIsNoSlowFile(t *testing.T) {
	tr := newTransfers(there)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.prompt(ctx, "good.example", 1, never); errors.Is(err, model.ErrSlow) {
		t.Errorf("%v", err)
	}
}

func TestALateFileThatNeverArrivesIsGivenUp(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name    string
		item    queue.Item
		err     error
		givesUp bool
	}{
		{"stood still once", queue.Item{Accepted: now}, model.ErrSlow, false},
		{"stood still too often", queue.Item{Accepted: now, Failures: lateFailures - 1}, model.ErrSlow, true},
		{"homeserver is away", queue.Item{Accepted: now, Attempts: 500}, model.ErrUnavailable, false},
		{"cannot be fetched for days", queue.Item{Accepted: now.Add(-2 * lateAge), Attempts: 500}, model.ErrUnavailable, true},
		{"first attempt after days", queue.Item{Accepted: now.Add(-2 * lateAge)}, model.ErrUnavailable, false},
	} {
		err := lateOutcome(c.item, c.err, "refused")
		if got := queue.Sentence(err) == "its server does not send it"; got != c.givesUp {
			t.Errorf("%s: %v, gives up: %v", c.name, err, got)
		}
	}
}
