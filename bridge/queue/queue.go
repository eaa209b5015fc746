// Package queue decides when a stored event is tried, retried and given up on. It holds
// the policy and no data: the items are in a Backend, which package store implements in
// the same database, and the same transactions, as the links between messages. Items of
// one lane are delivered one at a time, oldest first; if the first item of a lane has to
// wait, the whole lane waits.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// An Item is one event of one side, waiting to be delivered to the other. Payload is the
// event as received; conversion happens at delivery, so an item that failed because of a
// bug can be retried after an upgrade.
type Item struct {
	ID       string // globally unique: the source's own ID, plus a revision if the source repeats IDs
	Lane     string
	Kind     string
	Payload  []byte
	Accepted time.Time // when it was stored
	// Attempts counts earlier deliveries of the item. When it is not 0, one of them may
	// have arrived unnoticed.
	Attempts int
	// Failures counts the attempts that failed because of the item: not those postponed
	// because of a rate limit or a far side that is down.
	Failures int
	// Lease is the right to deliver the item; nil if only one process uses the backend.
	Lease *Lease
}

// A Class of lanes has its own workers, so that slow deliveries of one class do not
// occupy the workers of another.
type Class int

// The classes.
const (
	Messages Class = iota
	Files          // files that follow their messages; they may take minutes each
	Classes  int   = iota
)

// filesSuffix ends the name of a file lane.
const filesSuffix = ":files"

// FilesLane returns the lane for the files of a lane's messages.
func FilesLane(lane string) string { return lane + filesSuffix }

// ClassOf returns the class of a lane.
func ClassOf(lane string) Class {
	if strings.HasSuffix(lane, filesSuffix) {
		return Files
	}
	return Messages
}

// A Receipt says where a part of a delivered message ended up.
type Receipt struct {
	Part      int
	RCRoom    string
	RCMessage string
	MXRoom    string
	MXEvent   string
	MXSender  string
}

// A Backend stores items. Implementations pass queuetest.Run. Methods are safe
// for concurrent use.
//
// now is this process's clock. A backend shared by several processes does not trust it
// and uses the time of its database instead.
type Backend interface {
	// Add stores items in this order, all or none, and returns how many were new: an item
	// whose ID was ever added before is skipped.
	Add(ctx context.Context, now time.Time, items ...Item) (int, error)
	// Claim returns the oldest item of a lane of a class that is due and not being
	// delivered by any process, takes the lane, and counts the attempt. ok is false when
	// there is no such item.
	Claim(ctx context.Context, class Class, now time.Time) (item Item, ok bool, err error)
	// Next returns how long until a lane of a class may be due; a backend shared by
	// several processes returns how long until it looks again. ok is false when no item
	// waits.
	Next(ctx context.Context, class Class, now time.Time) (in time.Duration, ok bool, err error)
	// Done removes the item and stores the receipts, in one transaction, and frees the
	// lane. free, if not nil, is called once the lane's next item can be claimed,
	// possibly before Done returns: reads from the backend then wait for the receipts.
	// Only one item of a lane is on its way to the disk at a time, so after a crash the
	// first two of each lane may have been delivered.
	//
	// Done, Retry and GiveUp return ErrLost, and change nothing, when another process has
	// taken the lane.
	Done(ctx context.Context, item Item, receipts []Receipt, free func()) error
	// Retry frees the lane, which is due again after a time. failed says whether the
	// attempt counts as a failure.
	Retry(ctx context.Context, item Item, now time.Time, after time.Duration, failed bool, cause error) error
	// Hasten makes lanes that wait after Retry due now. Lanes that have no items, or one
	// being delivered, are left alone.
	Hasten(ctx context.Context, now time.Time, lanes []string) error
	// GiveUp makes the item a dead letter: it leaves the lane, which becomes free, and is
	// kept with its cause for the operator.
	GiveUp(ctx context.Context, item Item, cause error) error
}

// Permanent marks err as one that no retry can fix. The item becomes a dead letter and
// the sender is sent the sentence, which therefore names nothing internal.
func Permanent(sentence string, err error) error {
	return &permanent{error: err, sentence: sentence}
}

type permanent struct {
	error
	sentence string
}

func (p *permanent) Unwrap() error { return p.error }

// Sentence returns what to tell the sender of a dead letter.
func Sentence(err error) string {
	if p, ok := errors.AsType[*permanent](err); ok {
		return p.sentence
	}
	return "it could not be delivered despite many attempts"
}

// Later asks for another attempt after d without counting this one. Use it for
// rate limits.
func Later(d time.Duration, err error) error { return &later{err, d, false} }

// Unavailable is Later for a far side that does not answer. The attempt is made earlier
// if the side is found to answer again: see outages.
func Unavailable(d time.Duration, err error) error { return &later{err, d, true} }

type later struct {
	error
	after       time.Duration
	unavailable bool
}

func (l *later) Unwrap() error { return l.error }

// maxFailures is reached after about two days of backoff.
const maxFailures = 60

// Backoff grows from half a second to an hour and stays there.
func Backoff(failures int) time.Duration {
	return min(time.Hour, 500*time.Millisecond<<min(failures, 13))
}

// Worker takes items from a Backend and delivers them.
type Worker struct {
	Backend Backend
	// Deliver sends one item. Its error decides what happens to the item: nil,
	// Permanent, Later, or anything else for a retry with backoff.
	Deliver func(context.Context, Item) ([]Receipt, error)
	// GaveUp is called after an item became a dead letter; nil is allowed.
	GaveUp func(context.Context, Item, error)
	// Paused is called before each claim; nil means never paused.
	Paused func() bool
	// Class is the class of lanes to serve.
	Class Class
	// Lanes is how many lanes to serve at once.
	Lanes int
	Log   *slog.Logger

	once    sync.Once
	awake   chan struct{}
	away    bool // the backend does not answer; used only by Run
	outages outages
}

const (
	idle      = 30 * time.Second // how often to look without being woken
	awayPause = time.Second      // between two tries of a backend that does not answer
)

// Wake makes the worker look for items now. It never blocks.
func (w *Worker) Wake() {
	w.init()
	select {
	case w.awake <- struct{}{}:
	default:
	}
}

func (w *Worker) init() { w.once.Do(func() { w.awake = make(chan struct{}, 1) }) }

// Run delivers items until ctx ends; before it returns, current deliveries are finished
// or handed back. It returns an error only when the Backend fails.
func (w *Worker) Run(ctx context.Context) error {
	w.init()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, max(1, w.Lanes))
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return failure(ctx)
		}
		item, ok, err := w.claim(ctx)
		if w.isAway(ctx, err) {
			<-slots
			continue
		}
		if err != nil {
			fail(err)
			return failure(ctx)
		}
		if !ok {
			<-slots
			if err := w.wait(ctx); err != nil {
				fail(err)
			}
			if ctx.Err() != nil {
				return failure(ctx)
			}
			continue
		}
		free := sync.OnceFunc(func() { // frees the lane and the slot
			<-slots
			w.Wake()
		})
		running.Go(func() {
			if err := w.attempt(ctx, item, free); err != nil {
				fail(err)
			}
			free()
			w.Wake() // the lane may be another one now, or have been empty
		})
	}
}

// failure returns why Run ends: nil for a clean stop, or the error of a backend.
func failure(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (w *Worker) claim(ctx context.Context) (Item, bool, error) {
	if ctx.Err() != nil || (w.Paused != nil && w.Paused()) {
		return Item{}, false, nil
	}
	item, ok, err := w.Backend.Claim(ctx, w.Class, time.Now())
	if err != nil && ctx.Err() == nil {
		return Item{}, false, fmt.Errorf("claim an item: %w", err)
	}
	return item, ok && err == nil, nil
}

// isAway reports whether a backend does not answer, after a pause. It logs that once.
func (w *Worker) isAway(ctx context.Context, err error) bool {
	if !errors.Is(err, ErrAway) {
		if err == nil && w.away {
			w.Log.Info("the database answers again")
			w.away = false
		}
		return false
	}
	if !w.away {
		w.Log.Warn("nothing can be delivered for now", "err", err)
		w.away = true
	}
	timer := time.NewTimer(awayPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return true
}

// wait returns when there may be something to do.
func (w *Worker) wait(ctx context.Context) error {
	d := idle
	if w.Paused == nil || !w.Paused() {
		in, ok, err := w.Backend.Next(ctx, w.Class, time.Now())
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("look for the next item: %w", err)
		}
		if ok && err == nil {
			d = min(d, max(in, time.Millisecond))
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.awake:
	case <-timer.C:
	}
	return nil
}

// attempt delivers an item and settles it, even if ctx has just ended, so that a
// delivered item is not delivered again after a restart. It calls free when the lane's
// next item can be claimed while this one is still being settled.
func (w *Worker) attempt(ctx context.Context, item Item, free func()) error {
	held, done := under(ctx, item.Lease)
	receipts, err := w.deliver(held, item)
	done()
	if err != nil && (ctx.Err() != nil || item.Lease.Err() != nil) {
		err = Later(0, err) // a shutdown is not the item's fault
	}
	err = w.settle(context.WithoutCancel(ctx), item, receipts, err, free)
	if errors.Is(err, ErrLost) || errors.Is(err, ErrAway) {
		// The next holder of the lane checks what this delivery may have done.
		w.Log.Warn("the outcome of a delivery could not be stored", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "err", err)
		return nil
	}
	return err
}

// errPanic is wrapped by the cause of an item whose delivery panicked.
var errPanic = errors.New("the delivery panicked")

// deliver calls Deliver. An item that makes it panic is given up, because it would do the
// same after every restart. Only the type of the panic value is logged, because the value
// may quote a message.
func (w *Worker) deliver(ctx context.Context, item Item) (receipts []Receipt, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.Log.Error("a delivery panicked", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			receipts, err = nil, Permanent("it cannot be processed", fmt.Errorf("%w: %T", errPanic, v))
		}
	}()
	return w.Deliver(ctx, item)
}

// tell calls GaveUp. A panic in it is not a failure of the queue.
func (w *Worker) tell(ctx context.Context, item Item, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.Log.Error("notifying the sender panicked", "item", item.ID, "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
		}
	}()
	if w.GaveUp != nil {
		w.GaveUp(ctx, item, err)
	}
}

// oftenPostponed reports whether a number of attempts is worth logging: the 8th, the
// 16th, the 32nd and so on.
func oftenPostponed(attempts int) bool { return attempts >= 8 && attempts&(attempts-1) == 0 }

// settle turns the outcome of a delivery into one call to the backend.
func (w *Worker) settle(ctx context.Context, item Item, receipts []Receipt, err error, free func()) error {
	if err == nil {
		return errors.Join(w.Backend.Done(ctx, item, receipts, free), w.hasten(ctx, item.Lane))
	}
	if l, ok := errors.AsType[*later](err); ok {
		if oftenPostponed(item.Attempts + 1) {
			w.Log.Warn("a delivery keeps being postponed", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "attempts", item.Attempts+1,
				"accepted", item.Accepted, "wait", l.after, "err", err)
		}
		err := w.Backend.Retry(ctx, item, time.Now(), l.after, false, err)
		if l.unavailable {
			w.outages.failed(item.Lane, time.Now())
		}
		return err
	}
	if _, ok := errors.AsType[*permanent](err); ok || item.Failures+1 >= maxFailures {
		if err := w.Backend.GiveUp(ctx, item, err); err != nil {
			return err
		}
		w.Log.Error("gave up", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "attempts", item.Attempts+1, "err", err)
		w.tell(ctx, item, err)
		return nil
	}
	wait := Backoff(item.Failures)
	w.Log.Warn("delivery failed; it will be retried", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "failures", item.Failures+1, "wait", wait, "err", err)
	return w.Backend.Retry(ctx, item, time.Now(), wait, true, err)
}

// hasten makes the waiting lanes due when a delivery ends an outage.
func (w *Worker) hasten(ctx context.Context, lane string) error {
	lanes := w.outages.delivered(lane, time.Now())
	if len(lanes) == 0 {
		return nil
	}
	err := w.Backend.Hasten(ctx, time.Now(), lanes)
	w.Wake()
	return err
}
