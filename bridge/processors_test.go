package bridge

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"appliance/bridge/store"
)

// A bridge with little to do uses one processor, with much to do all of them, and while a
// backlog waits for its own disk some more.
func TestThePaceFollowsTheLoad(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pacing{pace: busy, spares: true, calmSince: now}
	shared := p
	shared.spares = false
	for i, step := range []struct {
		after            time.Duration
		load             load
		want, wantShared pace
	}{
		{0, load{share: 0.9}, busy, busy},
		{calmFor, load{share: 0.3}, busy, busy},
		{calmFor / 2, load{share: 0.1}, busy, busy},
		{calmFor / 2, load{share: 0.1}, calm, calm},
		{time.Second, load{share: 0.4}, calm, calm},
		{time.Second, load{share: 0.6}, busy, busy},
		{time.Second, load{share: 0.6, waiting: longBacklog}, busy, busy},
		{time.Second, load{share: 0.6, rate: drainRate, waiting: longBacklog}, spare, busy},
		{calmFor, load{share: 0.1, rate: drainRate, waiting: longBacklog}, spare, calm},
		{time.Second, load{share: 0.1, waiting: longBacklog}, busy, calm}, // an outage: nothing is delivered
		{calmFor - time.Second, load{share: 0.1, waiting: longBacklog}, calm, calm},
		{time.Second, load{share: 0.2, rate: drainRate, waiting: longBacklog}, spare, calm}, // and its end, on a fast machine
		{time.Second, load{share: 0.2, rate: drainRate, waiting: longBacklog - 1}, busy, calm},
	} {
		now = now.Add(step.after)
		if got := p.next(step.load, now); got != step.want {
			t.Errorf("step %d, on SQLite: pace %d, want %d", i, got, step.want)
		}
		if got := shared.next(step.load, now); got != step.wantShared {
			t.Errorf("step %d, on PostgreSQL: pace %d, want %d", i, got, step.wantShared)
		}
	}
}

// A running bridge changes GOMAXPROCS with its load, and leaves it as it was. A value that
// the operator has set is kept. It runs in a process of its own, whose load is known.
func TestABridgeUsesTheProcessorsItNeeds(t *testing.T) {
	const child = "APPLIANCE_TEST_PROCESSORS"
	if os.Getenv(child) != "" {
		followLoad(t)
		return
	}
	for set, want := range map[string]string{"": "\nfollowed\n", "3": "\nkept 3\n"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1", "GOMAXPROCS="+set)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("with GOMAXPROCS=%q: %v\n%s", set, err, out)
		}
	}
}

// followLoad prints what a bridge makes of GOMAXPROCS.
func followLoad(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	all := runtime.GOMAXPROCS(0)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s, ended := &service{store: db}, make(chan error)
	go func() { ended <- s.adaptProcessors(ctx) }()
	if os.Getenv("GOMAXPROCS") != "" {
		<-ended
		fmt.Printf("\nkept %d\n", runtime.GOMAXPROCS(0))
		return
	}
	if all == 1 {
		t.Fatal("with a single processor there is nothing to see")
	}
	becomes := func(n int, work func()) {
		deadline := time.Now().Add(time.Minute)
		for runtime.GOMAXPROCS(0) != n {
			if time.Now().After(deadline) {
				t.Fatalf("%d processors after a minute, want %d", runtime.GOMAXPROCS(0), n)
			}
			work()
		}
	}
	rest := func() { time.Sleep(10 * time.Millisecond) }
	becomes(1, rest)
	becomes(all, func() {
		for begin := time.Now(); time.Since(begin) < 10*time.Millisecond; { //nolint:revive // it shall use the processor
		}
	})
	becomes(1, rest)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := runtime.GOMAXPROCS(0); got != all {
		t.Fatalf("%d processors at the end, want %d", got, all)
	}
	fmt.Print("\nfollowed\n")
}
