package pause_test

import (
	"math"
	"testing"
	"time"

	"appliance/bridge/pause"
)

func TestThePauseDoublesUpToTheLongest(t *testing.T) {
	const shortest, longest = 300 * time.Millisecond, 15 * time.Second
	for failures, want := range map[int]time.Duration{
		0: shortest, 1: shortest, 2: 600 * time.Millisecond, 3: 1200 * time.Millisecond,
		6: 9600 * time.Millisecond, 7: longest, 8: longest, 1000: longest, math.MaxInt: longest,
	} {
		if got := pause.After(failures, shortest, longest); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
	if got := pause.After(math.MaxInt, 1, math.MaxInt64); got != math.MaxInt64 {
		t.Errorf("the longest pause there is became %s", got)
	}
	if got := pause.After(1, time.Minute, time.Second); got != time.Second {
		t.Errorf("longer than the longest: %s", got)
	}
}

func TestWhoFailedTogetherDoesNotComeBackTogether(t *testing.T) {
	const mean = 10 * time.Second
	seen := map[time.Duration]bool{}
	for range 1000 {
		got := pause.Spread(mean)
		if got < mean/2 || got >= mean+mean/2 {
			t.Fatalf("%s is not near %s", got, mean)
		}
		seen[got.Truncate(time.Second)] = true
	}
	if len(seen) != 10 {
		t.Errorf("1000 pauses fall on %d of 10 seconds", len(seen))
	}
	if got := pause.Spread(1); got < 0 || got > 1 {
		t.Errorf("the shortest pause there is became %s", got)
	}
}
