package main

import (
	"testing"
	"time"
)

// TestWhatIsTypedOftenIsFast keeps the time that people wait below what they notice. From the best
// of several runs it takes CPU time, which a busy host does not change, and wall-clock time, which
// includes waits. The programs that stand in for Docker are counted, too.
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
		best, clock := time.Hour, time.Hour
		for range 5 {
			cmd := w.command(c.args...)
			begin := time.Now()
			status, said := finished(t, cmd)
			clock = min(clock, time.Since(begin))
			if status != c.status {
				t.Fatalf("%v: %d\n%s", c.args, status, said)
			}
			if best = min(best, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()); best < c.limit/2 && clock < c.limit {
				break
			}
		}
		if best > c.limit {
			t.Errorf("%v takes %s of the processor, at most %s", c.args, best, c.limit)
		}
		if most := max(c.limit, time.Second); clock > most { // starting a program takes a busy host a while
			t.Errorf("%v takes %s, at most %s", c.args, clock, most)
		}
	}
}
