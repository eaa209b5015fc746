package mxside

import (
	"context"
	"sync/atomic"
	"time"
)

// Team is the state shared by processes that divide the work; *store.Store implements
// it. One of them leads: it reads what transactions lack and watches the homeserver. All
// of them take transactions.
type Team interface {
	// Led reports whether any process leads.
	Led(ctx context.Context) (bool, error)
	// StartTimer starts a timer that all processes see; TimerRuns reports whether it
	// is running.
	StartTimer(ctx context.Context, name string, d time.Duration) error
	TimerRuns(ctx context.Context, name string) (bool, error)
	// Announce sends a value to the others, soon and at most once; Subscribe receives it.
	Announce(topic, value string)
	Subscribe(topic string, f func(values []string))
}

const (
	// doubtTimer runs while transactions may be out of order.
	doubtTimer = "mx:doubt"
	// takenTopic announces numbered transactions taken by a process that does not lead.
	takenTopic = "mx:taken"
	// watchEvery is how often a process that does not lead checks whether the homeserver
	// is reachable, and teamFor how long a request to the other processes may take.
	watchEvery = 5 * time.Second
	teamFor    = 3 * time.Second
)

// team is this process among others. A process that is alone leads, and asks nobody.
type team struct {
	Team
	leads atomic.Bool
}

func (t *team) alone() bool { return t == nil || t.Team == nil }

// leading reports whether this process leads.
func (t *team) leading() bool { return t.alone() || t.leads.Load() }

// doubt makes all processes doubt the order of transactions for a while.
func (t *team) doubt(d time.Duration) {
	if t.alone() || d <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), teamFor)
	defer cancel()
	_ = t.StartTimer(ctx, doubtTimer, d) // while the database is down nothing is taken
}

// doubted reports whether another process has found a reason to doubt the order of
// transactions, or could not have, because none leads.
func (t *team) doubted(ctx context.Context) bool {
	if t.leading() {
		return false
	}
	if led, err := t.Led(ctx); err != nil || !led {
		return true
	}
	runs, err := t.TimerRuns(ctx, doubtTimer)
	return err != nil || runs
}
