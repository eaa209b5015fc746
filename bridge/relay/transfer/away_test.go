package transfer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"appliance/bridge/relay/transfer"
)

// answersAfter is a server that answers after a while, if the caller waits that long.
type answersAfter time.Duration

func (a answersAfter) Answers(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(a)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A slow server counts as away at first, and as available in the end; one that does not
// answer stays away, and the wait for it is bounded.
func TestWhoIsAway(t *testing.T) {
	for _, c := range []struct {
		what     string
		answers  time.Duration
		attempts int
		away     bool
		within   time.Duration
	}{
		{"quick", 100 * time.Millisecond, 4, false, time.Second},
		{"slow, asked soon", 2 * time.Second, 4, true, time.Second},
		{"slow, asked often", 2 * time.Second, 20, false, 5 * time.Second},
		{"gone, asked often", time.Hour, 20, true, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := transfer.Away(t.Context(), c.attempts, answersAfter(0), answersAfter(c.answers))
			if took := time.Since(began); (err != nil) != c.away || took > c.within {
				t.Errorf("%s: %v after %v", c.what, err, took)
			}
		})
	}
}
