package store

import (
	"context"
	"time"

	"appliance/bridge/queue"
)

// A keeper tracks which lanes have items and whose turn it is. SQLite belongs to one
// process, so its keeper holds that in memory; PostgreSQL may be shared, so its keeper
// takes leases.
type keeper interface {
	keeperLife
	keeperWrites
	keeperMemory
	keeperTurns
}

// keeperLife starts and stops a keeper.
type keeperLife interface {
	// start reads the state of the database; stop gives back what this process holds.
	start(ctx context.Context) error
	stop()
	// statements returns the statements that are executed often.
	statements() []string
}

// keeperWrites is what a keeper writes in the transactions of the writer.
type keeperWrites interface {
	// begin is called first in each transaction, with all its writes, and flush last.
	begin(b *batch, group []*write) error
	flush(b *batch) error
	// insert adds the items that are new; in lists them once the transaction is written.
	insert(b *batch, now time.Time, items []queue.Item, in *[]inserted) error
	// cursors moves cursors.
	cursors(b *batch, cursors map[string]string) error
	// nextSeq returns a number higher than that of any item in the lanes of the
	// transaction.
	nextSeq(b *batch) (int64, error)
	// done, giveUp and putOff write the outcome of an item.
	done(b *batch, it queue.Item, h head, receipts []queue.Receipt) error
	giveUp(b *batch, it queue.Item, h head, cause error) error
	putOff(b *batch, it queue.Item, h head, p postponed) error
}

// keeperMemory tracks the items that were claimed and those that were written.
type keeperMemory interface {
	// head returns the state of a claimed item.
	head(it queue.Item) (head, error)
	// count, leave and wait update the memory after a write. The caller holds writer.mu.
	count(in []inserted)
	leave(it queue.Item, h head)
	wait(it queue.Item, h head, p postponed)
	// failed handles that the outcome of an item could not be written.
	failed(it queue.Item, err error) error
}

// keeperTurns decides whose turn it is, and counts the waiting items.
type keeperTurns interface {
	claim(ctx context.Context, class queue.Class, now time.Time) (queue.Item, bool, error)
	next(class queue.Class, now time.Time) (time.Duration, bool)
	hasten(ctx context.Context, now time.Time, lanes []string) error
	waiting(ctx context.Context, lane string) (int, error)
	backlog(ctx context.Context) (int64, error)
}

// head is the state of a claimed item and of its lane.
type head struct {
	seq      int64
	attempts int  // including the current one
	putOff   bool // the lane's turn was put off in the database
}

// postponed is when and why an item is tried again.
type postponed struct {
	now    time.Time
	after  time.Duration
	failed int // 1 if the attempt counts, else 0
	cause  error
}
