// Package queuetest defines what a queue.Backend must do. Every implementation runs the
// same suite.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"appliance/bridge/queue"
)

// Backend is what the suite needs in addition to queue.Backend, to look behind it.
type Backend interface {
	queue.Backend
	deadItems
}

// deadItems exposes the dead letters.
type deadItems interface {
	// DeadItems lists the dead letters, oldest first.
	DeadItems(ctx context.Context) ([]queue.Item, error)
}

var epoch = time.UnixMilli(1_700_000_000_000).UTC()

// A Subject is an implementation under test.
type Subject struct {
	// Fresh returns an empty backend.
	Fresh func(t *testing.T) Backend
	// Reopen returns a backend with the same content, as after a crash; nil if the
	// content does not outlive the process.
	Reopen func(t *testing.T, b Backend) Backend
	// Travel sets the clock of a backend that does not trust the process's clock; nil for
	// one that does.
	Travel func(t *testing.T, b Backend, now time.Time)
}

// Run runs the suite.
func Run(t *testing.T, subject Subject) {
	s := suite{subject}
	for _, tc := range []struct {
		name string
		test func(suite, *testing.T)
	}{
		{"OldestFirstWithinALane", suite.oldestFirst},
		{"ALaneIsHeldWhileAnItemIsOut", suite.laneIsHeld},
		{"LanesDoNotWaitForEachOther", suite.lanesAreFree},
		{"AClassIsClaimedByItself", suite.classes},
		{"AnIDIsAcceptedOnce", suite.once},
		{"AnIDIsAcceptedOnceInOneCall", suite.onceInOneCall},
		{"AnIDIsAcceptedOnceEvenAfterDelivery", suite.onceForEver},
		{"ADeadLetterFreesTheLaneAndIsKept", suite.deadLetter},
		{"ARetryBlocksItsLaneUntilItsTime", suite.retry},
		{"AHastenedLaneHasItsTurnAtOnce", suite.hasten},
		{"AttemptsAndFailuresAreCountedApart", suite.counts},
		{"NextIsWhenTheFirstFreeLaneIsDue", suite.next},
		{"AddIsAllOrNothing", suite.allOrNothing},
		{"WhatWasAddedSurvivesACrash", suite.crash},
		{"ACrashLeavesTwoOfALaneInDoubt", suite.inDoubt},
		{"ALaneIsFreeBeforeItsItemIsStoredAsDone", suite.free},
		{"ManyWorkersDeliverEachItemOnceInOrder", suite.concurrent},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(s, t) })
	}
}

type suite struct{ Subject }

func (s suite) fresh(t *testing.T) Backend {
	b := s.Fresh(t)
	s.travel(t, b, 0)
	return b
}

func (s suite) reopen(t *testing.T, b Backend) Backend {
	if s.Reopen == nil {
		return nil
	}
	return s.Reopen(t, b)
}

// travel sets the time to at after the epoch.
func (s suite) travel(t *testing.T, b Backend, at time.Duration) {
	if s.Travel != nil {
		s.Travel(t, b, epoch.Add(at))
	}
}

func item(lane string, n int) queue.Item {
	return queue.Item{ID: fmt.Sprintf("%s-%d", lane, n), Lane: lane, Kind: "test", Payload: []byte(fmt.Sprint(n))}
}

func add(t *testing.T, b queue.Backend, items ...queue.Item) {
	t.Helper()
	if n, err := b.Add(t.Context(), epoch, items...); err != nil || n != len(items) {
		t.Fatalf("Add = %d, %v, want %d", n, err, len(items))
	}
}

func (s suite) claim(t *testing.T, b Backend, at time.Duration) (queue.Item, bool) {
	t.Helper()
	s.travel(t, b, at)
	it, ok, err := b.Claim(t.Context(), queue.Messages, epoch.Add(at))
	if err != nil {
		t.Fatal(err)
	}
	return it, ok
}

func (s suite) mustClaim(t *testing.T, b Backend, at time.Duration, id string) queue.Item {
	t.Helper()
	it, ok := s.claim(t, b, at)
	if !ok || it.ID != id {
		t.Fatalf("claimed %q, %v, want %q", it.ID, ok, id)
	}
	return it
}

func (s suite) mustNotClaim(t *testing.T, b Backend, at time.Duration) {
	t.Helper()
	if it, ok := s.claim(t, b, at); ok {
		t.Fatalf("claimed %q, want nothing", it.ID)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s suite) oldestFirst(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1), item("a", 2))
	add(t, b, item("a", 3))
	for n := 1; n <= 3; n++ {
		it := s.mustClaim(t, b, 0, fmt.Sprintf("a-%d", n))
		if string(it.Payload) != fmt.Sprint(n) || it.Kind != "test" || !it.Accepted.Equal(epoch) {
			t.Errorf("item = %+v", it)
		}
		must(t, b.Done(t.Context(), it, nil, nil))
	}
	s.mustNotClaim(t, b, time.Hour)
}

func (s suite) laneIsHeld(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1), item("a", 2))
	it := s.mustClaim(t, b, 0, "a-1")
	s.mustNotClaim(t, b, time.Second)
	must(t, b.Done(t.Context(), it, nil, nil))
	s.mustClaim(t, b, time.Second, "a-2")
}

func (s suite) classes(t *testing.T) {
	b := s.fresh(t)
	files := queue.FilesLane("a")
	add(t, b, item(files, 1), item("a", 1))
	if in, ok, err := b.Next(t.Context(), queue.Files, epoch); !ok || err != nil || (in > 0 && s.Travel == nil) {
		t.Errorf("Next = %v, %v, %v", in, ok, err)
	}
	s.mustClaim(t, b, 0, "a-1")
	s.mustNotClaim(t, b, 0)
	it, ok, err := b.Claim(t.Context(), queue.Files, epoch)
	if err != nil || !ok || it.ID != files+"-1" {
		t.Fatalf("Claim = %q, %v, %v", it.ID, ok, err)
	}
	must(t, b.Done(t.Context(), it, nil, nil))
	if it, ok, err := b.Claim(t.Context(), queue.Files, epoch); ok || err != nil {
		t.Errorf("claimed %q, %v after the last file", it.ID, err)
	}
}

func (s suite) lanesAreFree(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1), item("b", 1), item("c", 1))
	var got []string
	for range 3 {
		it, ok := s.claim(t, b, 0)
		if !ok {
			t.Fatal("a lane waited for another")
		}
		got = append(got, it.Lane)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("lanes = %v", got)
	}
}

func (s suite) once(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1))
	if n, err := b.Add(t.Context(), epoch, item("a", 1), item("a", 2)); err != nil || n != 1 {
		t.Fatalf("Add = %d, %v", n, err)
	}
	must(t, b.Done(t.Context(), s.mustClaim(t, b, 0, "a-1"), nil, nil))
	must(t, b.Done(t.Context(), s.mustClaim(t, b, 0, "a-2"), nil, nil))
	s.mustNotClaim(t, b, time.Hour)
}

func (s suite) onceInOneCall(t *testing.T) {
	b := s.fresh(t)
	if n, err := b.Add(t.Context(), epoch, item("a", 1), item("a", 1), item("a", 2)); err != nil || n != 2 {
		t.Fatalf("Add = %d, %v", n, err)
	}
	must(t, b.Done(t.Context(), s.mustClaim(t, b, 0, "a-1"), nil, nil))
	must(t, b.Done(t.Context(), s.mustClaim(t, b, 0, "a-2"), nil, nil))
	s.mustNotClaim(t, b, time.Hour)
}

func (s suite) onceForEver(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1))
	must(t, b.Done(t.Context(), s.mustClaim(t, b, 0, "a-1"), []queue.Receipt{{RCRoom: "r", RCMessage: "m", MXRoom: "!r", MXEvent: "$e"}}, nil))
	add(t, b, item("b", 1))
	must(t, b.GiveUp(t.Context(), s.mustClaim(t, b, 0, "b-1"), errors.New("no")))
	if n, err := b.Add(t.Context(), epoch, item("a", 1), item("b", 1)); err != nil || n != 0 {
		t.Fatalf("Add = %d, %v", n, err)
	}
	s.mustNotClaim(t, b, time.Hour)
}

func (s suite) deadLetter(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1), item("a", 2))
	must(t, b.GiveUp(t.Context(), s.mustClaim(t, b, 0, "a-1"), errors.New("too large")))
	s.mustClaim(t, b, 0, "a-2")
	dead, err := b.DeadItems(t.Context())
	if err != nil || len(dead) != 1 || dead[0].ID != "a-1" || string(dead[0].Payload) != "1" {
		t.Errorf("dead letters = %+v, %v", dead, err)
	}
}

func (s suite) retry(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1), item("a", 2))
	must(t, b.Retry(t.Context(), s.mustClaim(t, b, 0, "a-1"), epoch, 10*time.Second, true, errors.New("502")))
	s.mustNotClaim(t, b, 9*time.Second)
	must(t, b.Done(t.Context(), s.mustClaim(t, b, 10*time.Second, "a-1"), nil, nil))
	s.mustClaim(t, b, 10*time.Second, "a-2")
}

func (s suite) hasten(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1), item("a", 2))
	must(t, b.Retry(t.Context(), s.mustClaim(t, b, 0, "a-1"), epoch, time.Hour, false, errors.New("502")))
	s.mustNotClaim(t, b, time.Minute)
	must(t, b.Hasten(t.Context(), epoch.Add(time.Minute), []string{"a", "unknown"}))
	it := s.mustClaim(t, b, time.Minute, "a-1")
	must(t, b.Hasten(t.Context(), epoch.Add(time.Minute), []string{"a"}))
	s.mustNotClaim(t, b, time.Minute) // it is being delivered
	must(t, b.Done(t.Context(), it, nil, nil))
	s.mustClaim(t, b, time.Minute, "a-2")
}

func (s suite) counts(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1))
	want := [][2]int{{0, 0}, {1, 1}, {2, 1}, {3, 2}}
	for i, failed := range []bool{true, false, true, false} {
		it := s.mustClaim(t, b, time.Hour, "a-1")
		if it.Attempts != want[i][0] || it.Failures != want[i][1] {
			t.Errorf("claim %d: attempts %d, failures %d, want %v", i, it.Attempts, it.Failures, want[i])
		}
		must(t, b.Retry(t.Context(), it, epoch, 0, failed, errors.New("x")))
	}
}

func (s suite) next(t *testing.T) {
	b := s.fresh(t)
	polls := s.Travel != nil // then it may look before anything is due
	if in, ok, err := b.Next(t.Context(), queue.Messages, epoch); (ok && !polls) || err != nil {
		t.Fatalf("empty: %v, %v, %v", in, ok, err)
	}
	add(t, b, item("a", 1), item("b", 1))
	x, _ := s.claim(t, b, 0)
	y, _ := s.claim(t, b, 0)
	must(t, b.Retry(t.Context(), x, epoch, 7*time.Second, true, errors.New("x")))
	must(t, b.Retry(t.Context(), y, epoch, 9*time.Second, true, errors.New("x")))
	if in, ok, err := b.Next(t.Context(), queue.Messages, epoch); !ok || err != nil || in > 7*time.Second || (in != 7*time.Second && !polls) {
		t.Errorf("Next = %v, %v, %v", in, ok, err)
	}
}

func (s suite) allOrNothing(t *testing.T) {
	b := s.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Add(ctx, epoch, item("a", 1), item("a", 2)); err == nil {
		t.Fatal("Add succeeded under an ended context")
	}
	s.mustNotClaim(t, b, time.Hour)
}

// afterCrash is when another process has certainly noticed that one died.
const afterCrash = 15 * time.Second

func (s suite) crash(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 1), item("a", 2))
	s.mustClaim(t, b, 0, "a-1")
	if b = s.reopen(t, b); b == nil {
		t.Skip("nothing outlives the process here; the same test runs for the databases")
	}
	it := s.mustClaim(t, b, afterCrash, "a-1")
	if it.Attempts != 1 {
		t.Errorf("attempts = %d: the one that the crash interrupted is forgotten", it.Attempts)
	}
	must(t, b.Done(t.Context(), it, nil, nil))
	if b = s.reopen(t, b); b == nil {
		t.Fatal("reopened once, but not twice")
	}
	s.mustClaim(t, b, 2*afterCrash, "a-2")
}

// inDoubt: the second item of a lane is begun while the first is being stored as done, so
// a crash leaves exactly those two in doubt.
func (s suite) inDoubt(t *testing.T) {
	b := s.fresh(t)
	add(t, b, item("a", 0), item("a", 1), item("a", 2), item("a", 3))
	must(t, b.Done(t.Context(), s.mustClaim(t, b, 0, "a-0"), nil, nil))
	if b = s.reopen(t, b); b == nil {
		t.Skip("nothing outlives the process here; the same test runs for the databases")
	}
	for i, attempts := range []int{1, 1, 0} {
		it := s.mustClaim(t, b, afterCrash, fmt.Sprint("a-", i+1))
		if it.Attempts != attempts {
			t.Errorf("%s: attempts = %d, want %d", it.ID, it.Attempts, attempts)
		}
		must(t, b.Done(t.Context(), it, nil, nil))
	}
}

// free: the next item can be claimed before Done returns, and none is claimed twice.
func (s suite) free(t *testing.T) {
	b := s.fresh(t)
	const n = 50
	for i := range n {
		add(t, b, item("a", i))
	}
	if again := s.reopen(t, b); again != nil {
		b = again // its items are not cached
	}
	it := s.mustClaim(t, b, afterCrash, "a-0")
	for i := 1; i <= n; i++ {
		var next queue.Item
		must(t, b.Done(t.Context(), it, []queue.Receipt{{RCRoom: "r", RCMessage: it.ID, MXRoom: "!r", MXEvent: "$" + it.ID}}, func() {
			if i < n {
				next = s.mustClaim(t, b, afterCrash, fmt.Sprint("a-", i))
			}
		}))
		it = next
	}
	s.mustNotClaim(t, b, time.Hour)
}

func (s suite) concurrent(t *testing.T) { //nolint:gocognit // four workers and what they may see, in one place
	b := s.fresh(t)
	const lanes, each = 8, 25
	for n := range each {
		for l := range lanes {
			add(t, b, item(fmt.Sprint("lane", l), n))
		}
	}
	var mu sync.Mutex
	got := map[string][]string{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				it, ok, err := b.Claim(t.Context(), queue.Messages, epoch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				total := 0
				for _, l := range got {
					total += len(l)
				}
				if ok {
					got[it.Lane] = append(got[it.Lane], string(it.Payload))
				}
				mu.Unlock()
				if ok {
					if err := b.Done(t.Context(), it, nil, nil); err != nil {
						t.Error(err)
						return
					}
				} else if total == lanes*each {
					return
				}
			}
		})
	}
	wg.Wait()
	for lane, seq := range got {
		for n, p := range seq {
			if p != fmt.Sprint(n) {
				t.Fatalf("%s: %v", lane, seq)
			}
		}
	}
}
