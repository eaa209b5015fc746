package torocketchat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Any server on Matrix can announce a file that never arrives. A message waits only
// briefly for its file, so that the room is not held up; a slow file follows in a lane of
// its own, and is given up if its server does not send it.
const (
	// filePatience is how long the file of a message may stall, and lateFilePatience how
	// long one that follows later may.
	filePatience     = 5 * time.Second
	lateFilePatience = time.Minute
	// A message waits for its whole file for minFileTime plus the time that the announced
	// size takes at fileRate, but at most maxFileTime.
	minFileTime = 10 * time.Second
	maxFileTime = 30 * time.Second
	fileRate    = 2 << 20 // bytes a second
	// lateFileTime bounds one attempt at a file that follows later.
	lateFileTime = 30 * time.Minute
	// lateFailures is how often a file that follows later may fail to arrive, which
	// takes about an hour. lateAge is how old it may get while the homeserver reports
	// that it cannot fetch it.
	lateFailures = 12
	lateAge      = 24 * time.Hour
	// slowFor is how long, after a server has failed to send a file, its other files
	// follow later without an attempt, unless one of them arrives meanwhile; that counts
	// once per slowFor. maxSlow bounds the servers that are remembered.
	slowFor = 5 * time.Minute
	maxSlow = 1000
	// fileSlots is how many messages may wait for their file at once, and fileSlotWait
	// how long one waits for a slot.
	fileSlots    = model.Lanes / 2
	fileSlotWait = 2 * time.Second
)

// transfers limits how much messages with files may hold up. Its methods are safe
// for concurrent use.
type transfers struct {
	away  func(context.Context) error // see transfer.Away
	slots chan struct{}
	mu    sync.Mutex
	slow  map[string]slowness // by server
}

// slowness records a server that did not send a file.
type slowness struct {
	until    time.Time
	forgiven time.Time // when it sent one after all
}

// within runs f with a time limit, after which its error is ErrSlow.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, d, model.ErrSlow)
	defer cancel()
	err := f(limited)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(limited), model.ErrSlow) {
		return fmt.Errorf("%w within %v", model.ErrSlow, d)
	}
	return err
}

// lateOutcome is model.Outcome for a file that follows later: one that never arrives is
// eventually given up.
func lateOutcome(item queue.Item, err error, refused string) error {
	const gone = "its server does not send it"
	switch {
	case errors.Is(err, model.ErrSlow) && item.Failures+1 >= lateFailures:
		return queue.Permanent(gone, err)
	case errors.Is(err, model.ErrUnavailable) && item.Attempts >= lateFailures && time.Since(item.Accepted) > lateAge:
		return queue.Permanent(gone, err)
	}
	return model.Outcome(item, err, refused)
}

func newTransfers(away func(context.Context) error) *transfers {
	return &transfers{away: away, slots: make(chan struct{}, fileSlots), slow: map[string]slowness{}}
}

func (t *transfers) isSlow(server string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.slow[server].until)
}

func (t *transfers) noteSlow(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.slow) >= maxSlow {
		clear(t.slow)
	}
	t.slow[server] = slowness{until: time.Now().Add(slowFor), forgiven: t.slow[server].forgiven}
}

// arrived records that a file that followed later has arrived.
func (t *transfers) arrived(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.slow[server]; ok && time.Since(s.forgiven) >= slowFor {
		t.slow[server] = slowness{forgiven: time.Now()}
	}
}

// prompt runs f, which carries the file of a message from a server, for a short time
// only. The error is ErrSlow if the file has to follow later. If Rocket.Chat or the
// homeserver does not respond, the server is not at fault: the error is ErrUnavailable.
func (t *transfers) prompt(ctx context.Context, server string, size int64, f func(context.Context) error) error {
	if t.isSlow(server) {
		return fmt.Errorf("%w: %s did not send another one", model.ErrSlow, server)
	}
	turn := time.NewTimer(fileSlotWait)
	defer turn.Stop()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-turn.C:
		return fmt.Errorf("%w: too many files are being transferred", model.ErrSlow)
	case <-ctx.Done():
		return ctx.Err()
	}
	whole := min(maxFileTime, minFileTime+time.Duration(max(size, 0)/fileRate)*time.Second)
	err := within(ctx, whole, f)
	if !errors.Is(err, model.ErrSlow) {
		return err
	}
	if away := t.away(ctx); away != nil {
		return away
	}
	t.noteSlow(server)
	return err
}
