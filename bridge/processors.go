package bridge

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// spareProcessors is how many more Go processors than the machine has a bridge on SQLite
	// gets while it delivers a backlog. A write waits for the disk inside a system call, and keeps its
	// processor until the runtime notices: of two processors one would be idle most of the
	// time, and a message would wait a millisecond longer for each of its steps.
	spareProcessors = 2
	// longBacklog is how many waiting items make a backlog, and drainRate how many deliveries a second show
	// that it is delivered. In an outage the items only wait. The processor time would not show it: a
	// bridge that waits for a far side and its disk uses little of it.
	longBacklog = 500
	drainRate   = 100
)

// How the load is measured. The shares are of one processor.
const (
	busyShare = 0.5  // above it, one processor is not enough
	calmShare = 0.25 // below it for calmFor, one processor is enough
	idleShare = 0.05 // below it, the load is measured less often
	calmFor   = 5 * time.Second
	loadEvery = 250 * time.Millisecond
	idleEvery = time.Second
)

// A pace is how many processors the bridge uses.
type pace int

const (
	calm  pace = iota // one
	busy              // all that the process may use
	spare             // some more, because they wait for the disk
)

// load is what decides the pace.
type load struct {
	share   float64 // processor time per time, in processors
	rate    float64 // deliveries a second
	waiting int64   // items
}

// pacing chooses the pace. It rises at once and becomes calm only after some time.
type pacing struct {
	pace      pace
	spares    bool // whether writes wait for this process's own disk
	calmSince time.Time
}

// next returns the pace for a load.
func (p *pacing) next(l load, now time.Time) pace {
	if l.share >= calmShare {
		p.calmSince = now
	}
	switch {
	case p.spares && l.waiting >= longBacklog && l.rate >= drainRate:
		p.pace, p.calmSince = spare, now
	case l.share >= busyShare || p.pace == spare:
		p.pace = busy
	case now.Sub(p.calmSince) >= calmFor:
		p.pace = calm
	}
	return p.pace
}

// set gives the process the processors of a pace. For more than one it asks the runtime
// for its default, which follows the limits of the container.
func (p pace) set() {
	if p == calm {
		runtime.GOMAXPROCS(1)
		return
	}
	runtime.SetDefaultGOMAXPROCS()
	if p == spare {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors)
	}
}

// pacer is true while a service of this process adapts GOMAXPROCS.
var pacer atomic.Bool

// adaptProcessors adapts GOMAXPROCS to the load until ctx ends. With several processors,
// each step of a message makes idle threads look for work: with a few messages a second,
// that and the runtime's monitor take a third of the bridge's processor time, which is then
// missing for the servers beside it. A value set in the environment is kept.
func (s *service) adaptProcessors(ctx context.Context) error {
	if os.Getenv("GOMAXPROCS") != "" || !pacer.CompareAndSwap(false, true) {
		return nil
	}
	defer pacer.Store(false)
	defer runtime.SetDefaultGOMAXPROCS()
	p := pacing{pace: busy, spares: !s.store.Shared(), calmSince: time.Now()}
	p.pace.set()
	used, carried, measured := processorTime(), s.carried.Load(), time.Now()
	next := time.NewTimer(loadEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		last, before, at := used, carried, measured
		used, carried, measured = processorTime(), s.carried.Load(), time.Now()
		l := load{share: float64(used-last) / float64(measured.Sub(at)), rate: float64(carried-before) / measured.Sub(at).Seconds()}
		if p.spares && l.rate >= drainRate {
			b, err := s.store.Backlog(ctx)
			if err != nil && ctx.Err() == nil {
				s.Log.Debug("the backlog could not be counted", "err", err)
			}
			l.waiting = b.Waiting
		}
		if was := p.pace; p.next(l, measured) != was {
			p.pace.set()
		}
		if p.pace == calm && l.share < idleShare {
			next.Reset(idleEvery)
		} else {
			next.Reset(loadEvery)
		}
	}
}

// processorTime is how long the process has run on processors so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
