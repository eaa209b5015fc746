package store

import (
	"context"
	"time"

	"appliance/bridge/queue"
)

// A keeper knows which lanes have items and whose turn it is. SQLite belongs to one
// process, so its keeper holds that in memory; PostgreSQL may be shared, and its keeper
// takes leases.
type keeper interface {
	keeperLife
	keeperWrites
	keeperMemory
	keeperTurns
}

// keeperLife is the beginning and the end of a keeper.
type keeperLife interface {
	// start reads what the database holds; stop gives back what this process has.
	start(ctx context.Context) error
	stop()
	// statements are what is written again and again.
	statements() []string
}

// keeperWrites is what a keeper writes in the transactions of the writer.
type keeperWrites interface {
	// begin is called first in each transaction, with all that is written in it,
	// and flush last.
	begin(b *batch, group []*write) error
	flush(b *batch) error
	// insert adds the items that are new; in has them once the transaction is written.
	insert(b *batch, now time.Time, items []queue.Item, in *[]inserted) error
	// cursors moves cursors.
	cursors(b *batch, cursors map[string]string) error
	// nextSeq returns a number that is higher than that of any item of the lanes of
	// the transaction.
	nextSeq(b *batch) (int64, error)
	// done, giveUp and putOff write what became of an item.
	done(b *batch, it queue.Item, h head, receipts []queue.Receipt) error
	giveUp(b *batch, it queue.Item, h head, cause error) error
	putOff(b *batch, it queue.Item, h head, p postponed) error
}

// keeperMemory is what a keeper knows of the items that were given out and written.
type keeperMemory interface {
	// head returns what is known of an item that a claim has given out.
	head(it queue.Item) (head, error)
	// count, leave and wait take what was written into memory. They are called under
	// writer.mu.
	count(in []inserted)
	leave(it queue.Item, h head)
	wait(it queue.Item, h head, p postponed)
	// failed takes that what became of an item could not be written.
	failed(it queue.Item, err error) error
}

// keeperTurns is whose turn it is, and how much waits.
type keeperTurns interface {
	claim(ctx context.Context, class queue.Class, now time.Time) (queue.Item, bool, error)
	next(class queue.Class, now time.Time) (time.Duration, bool)
	hasten(ctx context.Context, now time.Time, lanes []string) error
	waiting(ctx context.Context, lane string) (int, error)
	backlog(ctx context.Context) (int64, error)
}

// head is what is known of an item that a claim has given out, and of its lane.
type head struct {
	seq      int64
	attempts int  // with the one under way
	putOff   bool // the lane's turn was put off in the database
}

// postponed says when an item is tried again.
type postponed struct {
	now    time.Time
	after  time.Duration
	failed int // 1 when the attempt counts, else 0
	cause  error
}
