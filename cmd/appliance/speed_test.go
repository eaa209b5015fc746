package main

import (
	"testing"
	"time"
)

// TestWhatIsTypedOftenIsFast keeps what people wait for below what they notice. It counts the
// processor's time, of the best of some runs: on a busy host the clock says nothing about the
// program. The programs that stand in for Docker are counted, too.
func TestWhatIsTypedOftenIsFast(t *testing.T) {
	w := installed(t)
	for _, c := range []struct {
		args   []string
		status int
		limit  time.Duration
	}{
		{[]string{"--help"}, 0, 30 * time.Millisecond},
		{[]string{"up", "--dir", "appliance"}, 0, time.Second},
		{[]string{"doctor", "--dir", "appliance"}, 4, 2 * time.Second},
	} {
		best := time.Hour
		for range 5 {
			cmd := w.command(c.args...)
			status, said := finished(t, cmd)
			if status != c.status {
				t.Fatalf("%v: %d\n%s", c.args, status, said)
			}
			if best = min(best, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()); best < c.limit/2 {
				break
			}
		}
		if best > c.limit {
			t.Errorf("%v takes %s of the processor, at most %s", c.args, best, c.limit)
		}
	}
}
