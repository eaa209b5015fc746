package main

import (
	"os/exec"
	"testing"
	"time"
)

// TestWhatIsTypedOftenIsFast keeps the time that people wait below what they notice. The CPU time
// of a command, the programs that stand in for Docker included, is compared with that of
// `go version` in the same run, because machines differ several times over in what the start of
// a program costs. The wall-clock time includes waits. Both are the best of several runs.
func TestWhatIsTypedOftenIsFast(t *testing.T) {
	w := installed(t)
	for _, c := range []struct {
		args   []string
		status int
		times  float64 // at most this many times `go version`
		limit  time.Duration
	}{
		{[]string{"--help"}, 0, 5, time.Second},
		{[]string{"up", "--dir", "appliance"}, 0, 25, time.Second},
		{[]string{"doctor", "--dir", "appliance"}, 4, 25, 2 * time.Second},
	} {
		best, yardstick, clock := time.Hour, time.Hour, time.Hour
		for range 5 {
			version := exec.CommandContext(t.Context(), "go", "version")
			if out, err := version.CombinedOutput(); err != nil {
				t.Fatalf("go version: %s\n%s", err, out)
			}
			yardstick = min(yardstick, cpuTime(version))
			cmd := w.command(c.args...)
			begin := time.Now()
			status, said := finished(t, cmd)
			clock = min(clock, time.Since(begin))
			if status != c.status {
				t.Fatalf("%v: %d\n%s", c.args, status, said)
			}
			best = min(best, cpuTime(cmd))
		}
		if ratio := best.Seconds() / yardstick.Seconds(); ratio > c.times {
			t.Errorf("%v takes %s of the processor, %.1f times as long as go version; at most %.0f times", c.args, best, ratio, c.times)
		}
		if clock > c.limit { // starting a program takes a busy host a while
			t.Errorf("%v takes %s, at most %s", c.args, clock, c.limit)
		}
	}
}

// cpuTime returns what a command that has ended took of the processor.
func cpuTime(c *exec.Cmd) time.Duration {
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime()
}
