package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/queue"
)

const (
	// leaseFor is how long a lease lasts in the database, and so how long the lanes of a
	// dead process wait for another one. renewEvery is the interval between renewals.
	leaseFor   = 9 * time.Second
	renewEvery = 2 * time.Second
	// trustFor is how long this process relies on a lease, counted from the request for
	// it. The rest is a margin for a request in flight when this process is suspended.
	trustFor = 6 * time.Second
	// idleFor is how long a lane without items stays with its process.
	idleFor = 3 * time.Second
	// lookEvery is how often to look for free lanes when there was no notification.
	lookEvery = time.Second
	// lanesAtOnce is how many free lanes are taken at once; fetchAtOnce is from how many
	// of them items are read at once.
	lanesAtOnce = 8
	fetchAtOnce = 64
	// ownTurn is how long a free lane is reserved for the process that its name assigns it
	// to, so that processes share the work evenly. After that, any process may take it.
	ownTurn = 400 * time.Millisecond

	// dbNow is the time of the database in milliseconds: the clocks of the processes
	// differ and are not relied on.
	dbNow = `(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint`
)

// shared is the keeper for PostgreSQL, which several processes may share. A lane is delivered
// by the process that holds its lease: a row of lanes with an owner, an expiry time and a
// fencing number. Only the owner settles items of the lane, and only under the fencing number
// with which it took the lane: each transaction checks that first, and locks the row so that
// no other process takes the lane until the transaction ends (begin). A lane is free when it
// has no owner, or when the owner has not renewed its lease in time. In the second case its
// first two items may have been delivered but not settled; they count as tried.
//
// The numbers that order items come from a database sequence, drawn while the row of the
// lane is locked, so that the numbers within a lane follow the order of the commits.
//
// PostgreSQL does the coordination: row locks, SKIP LOCKED, a sequence, and
// LISTEN/NOTIFY, which only makes things faster (announce.go).
type shared struct {
	*process
	*holder
	settler
	renewer
	roles
	listener

	locks   locker
	running sync.WaitGroup
	end     context.CancelFunc
}

// process is this process as one of those that share the database.
type process struct {
	s           *writer
	subscribers *subscribers
	owner       string // of this process's leases
	news        announcer
	log         *slog.Logger
}

// holder holds the leased lanes of this process, and takes free ones.
type holder struct {
	*process
	parting chan struct{} // has an element when a lane can be given away

	looking sync.Mutex // one search for work at a time

	// Guarded by writer.mu.
	held     map[string]*heldLane
	left     map[string]time.Time       // lanes given away, and until when they are not taken back
	turns    [queue.Classes][]*heldLane // free lanes with cached items, in the order of their turns
	dirty    [queue.Classes]bool        // there may be free lanes
	lookAt   [queue.Classes]time.Time   // when to look for free lanes anyway
	replicas int                        // number of processes that share the work
	place    int                        // position of this process among them, from 0
}

// settler writes the outcome of items, in the transactions of the writer.
type settler struct{ *process }

var _ keeperWrites = (*settler)(nil)

// forget removes an item that was already delivered. If that fails, the item is found again later.
func (k *holder) forget(l *heldLane, it queue.Item) {
	go func() {
		err := k.s.write(context.Background(), &write{lease: l.lease, collects: true, do: func(b *batch) error {
			b.gone = append(b.gone, it.ID)
			return nil
		}})
		if err != nil {
			k.log.Warn("an item that was already delivered could not be removed", "item", it.ID, "lane", it.Lane, "err", err)
		}
	}()
}

// heldLane is a lane leased by this process.
type heldLane struct {
	lease  *queue.Lease
	class  queue.Class
	items  []atHand // the ones after the item that is being delivered
	after  int64    // the highest seq read so far
	more   bool     // there may be items after that
	busy   bool     // an item is being delivered
	listed bool     // it is in turns
	doubt  int      // how many of the next items may already have been delivered
	leaves bool     // give it to another process when no item is being delivered
	used   time.Time
	out    atHand // the item that is being delivered
}

func (k *settler) statements() []string { return []string{putDone, retryItem} }

func (k *holder) claim(ctx context.Context, class queue.Class, _ time.Time) (queue.Item, bool, error) {
	for ctx.Err() == nil {
		if it, ok := k.take(class); ok {
			return it, true, nil
		}
		more, err := k.look(ctx, class)
		if err != nil {
			return queue.Item{}, false, away(err)
		}
		if !more {
			return queue.Item{}, false, nil
		}
	}
	return queue.Item{}, false, ctx.Err()
}

// take returns the first item of the lane whose turn it is.
func (k *holder) take(class queue.Class) (queue.Item, bool) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for len(k.turns[class]) > 0 {
		l := k.turns[class][0]
		k.turns[class] = k.turns[class][1:]
		l.listed = false
		if l.busy || l.leaves || len(l.items) == 0 || k.held[l.lease.Lane] != l {
			continue
		}
		if l.lease.Err() != nil {
			k.drop(l)
			continue
		}
		l.out, l.items = l.items[0], l.items[1:]
		l.busy, l.used = true, time.Now()
		it := l.out.item
		l.out.item.Attempts++
		it.Lease = l.lease
		return it, true
	}
	return queue.Item{}, false
}

// list queues a lane for its turn if it has items. The caller holds writer.mu.
func (k *holder) list(l *heldLane) {
	if !l.busy && !l.listed && len(l.items) > 0 {
		l.listed = true
		k.turns[l.class] = append(k.turns[l.class], l)
	}
}

// drop gives up a lease and the deliveries under it. The caller holds writer.mu.
func (k *holder) drop(l *heldLane) {
	l.lease.Lose()
	if k.held[l.lease.Lane] == l {
		delete(k.held, l.lease.Lane)
	}
}

// look reads items of this process's lanes, or takes free lanes. It returns false when
// there is nothing to do at the moment.
func (k *holder) look(ctx context.Context, class queue.Class) (bool, error) {
	k.looking.Lock()
	defer k.looking.Unlock()
	if empty := k.empty(class); len(empty) > 0 {
		return true, k.fetch(ctx, empty)
	}
	k.s.mu.Lock()
	look := k.dirty[class] || !time.Now().Before(k.lookAt[class])
	if look {
		k.dirty[class], k.lookAt[class] = false, time.Now().Add(lookEvery)
	}
	k.s.mu.Unlock()
	if !look {
		return false, nil
	}
	n, err := k.acquire(ctx, class)
	if err != nil || n == lanesAtOnce {
		k.s.mu.Lock()
		k.dirty[class] = true
		k.s.mu.Unlock()
	}
	return n > 0, err
}

// empty returns lanes of this process that may have items but have none cached.
func (k *holder) empty(class queue.Class) []*heldLane {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	var out []*heldLane
	for _, l := range k.held {
		if l.class == class && l.more && len(l.items) == 0 && len(out) < fetchAtOnce {
			l.more = false // items added from now on set it again
			out = append(out, l)
		}
	}
	return out
}

// An item marked as done was fully delivered by another process between the check for it
// and its insertion; see writeTogether.
const fetchItems = `SELECT i.lane, i.seq, i.id, i.kind, i.payload, i.accepted, i.attempts, i.failures, EXISTS (SELECT 1 FROM done WHERE done.id = i.id), ` + changeCount + `
	FROM unnest($1::text[], $2::bigint[]) AS l (lane, after)
	CROSS JOIN LATERAL (SELECT * FROM items WHERE items.lane = l.lane AND buried = 0 AND seq > l.after ORDER BY seq LIMIT $3) AS i
	ORDER BY i.lane, i.seq`

// fetch caches the next items of lanes.
func (k *holder) fetch(ctx context.Context, lanes []*heldLane) error {
	names, after := make([]string, len(lanes)), make([]int64, len(lanes))
	for i, l := range lanes {
		names[i], after[i] = l.lease.Lane, l.after
	}
	found, err := k.read(ctx, names, after)
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for _, l := range lanes {
		if err != nil {
			l.more = true
			continue
		}
		items := found[l.lease.Lane]
		for _, a := range items {
			l.after = a.seq
			if a.done {
				k.forget(l, a.item)
				continue
			}
			if l.doubt > 0 {
				l.doubt--
				a.item.Attempts = max(a.item.Attempts, 1)
			}
			l.items = append(l.items, a)
		}
		l.more = l.more || len(items) == readAhead
		k.list(l)
	}
	return err
}

func (k *holder) read(ctx context.Context, names []string, after []int64) (map[string][]atHand, error) {
	asked, changes := time.Now(), int64(0)
	rows, err := k.s.query(ctx, fetchItems, names, after, readAhead)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := map[string][]atHand{}
	for rows.Next() {
		var a atHand
		var accepted int64
		if err := rows.Scan(&a.item.Lane, &a.seq, &a.item.ID, &a.item.Kind, &a.item.Payload, &accepted, &a.item.Attempts, &a.item.Failures, &a.done, &changes); err != nil {
			return nil, err
		}
		a.item.Accepted = time.UnixMilli(accepted).UTC()
		found[a.item.Lane] = append(found[a.item.Lane], a)
	}
	if len(found) > 0 {
		k.s.changes.note(changes, asked)
	}
	return found, rows.Err()
}

// takeLanes takes free lanes of a class, those free the longest first. A lane that its
// name assigns to another process is left to that process for a while.
const takeLanes = `WITH free AS (
	SELECT lane, owner FROM lanes
	WHERE waiting > 0 AND (right(lane, 6) = ':files') = $1 AND lane <> ALL($8::text[])
	AND GREATEST(due, held) <= ` + dbNow + ` - CASE WHEN mod(abs(hashtext(lane)::bigint), $2) = $3 THEN 0 ELSE $4::bigint END
	ORDER BY GREATEST(due, held) LIMIT $5 FOR UPDATE SKIP LOCKED)
	UPDATE lanes SET owner = $6, fence = fence + 1, held = ` + dbNow + ` + $7::bigint
	FROM free WHERE lanes.lane = free.lane RETURNING lanes.lane, lanes.fence, free.owner`

// acquire takes free lanes and returns their number.
func (k *holder) acquire(ctx context.Context, class queue.Class) (int, error) {
	k.s.mu.Lock()
	of, place, left := max(1, k.replicas), k.place, k.stayAway()
	k.s.mu.Unlock()
	asked := time.Now()
	rows, err := k.s.query(ctx, takeLanes, class == queue.Files, of, place, ownTurn.Milliseconds(), lanesAtOnce, k.owner, leaseFor.Milliseconds(), left)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		var lane, before string
		var fence int64
		if err := rows.Scan(&lane, &fence, &before); err != nil {
			return n, err
		}
		n++
		l := &heldLane{lease: queue.NewLease(lane, fence, asked.Add(trustFor)), class: class, more: true, used: asked}
		if before != "" {
			l.doubt = 2
			k.log.Info("took over a lane whose lease had expired", "lane", lane, "fence", fence)
		}
		k.s.mu.Lock()
		if old := k.held[lane]; old != nil {
			k.drop(old)
		}
		k.held[lane] = l
		k.s.mu.Unlock()
	}
	return n, rows.Err()
}

func (k *holder) next(class queue.Class, _ time.Time) (time.Duration, bool) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	return max(0, time.Until(k.lookAt[class])), true
}

// hastenLanes affects only lanes without an owner. A locked lane is being taken, or items
// are being added to it.
const hastenLanes = `UPDATE lanes SET due = ` + dbNow + ` WHERE lane IN (SELECT lane FROM lanes
	WHERE lane = ANY($1::text[]) AND owner = '' AND due > ` + dbNow + ` FOR UPDATE SKIP LOCKED)`

func (k *holder) hasten(ctx context.Context, _ time.Time, lanes []string) error {
	if _, err := k.s.exec(ctx, hastenLanes, lanes); err != nil {
		return away(err)
	}
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for class := range k.dirty {
		k.dirty[class] = true
	}
	return nil
}

// markWaiting locks the rows of lanes that get new items, in the same order in all
// processes, and marks them as having some.
const markWaiting = `INSERT INTO lanes (lane, waiting, due, held) SELECT lane, 1, ` + dbNow + `, 0 FROM unnest($1::text[]) AS lane` + markOnce

// markOnce handles a lane that already has a row. The row is locked even if nothing changes.
const markOnce = ` ON CONFLICT (lane) DO UPDATE SET waiting = 1, due = excluded.due WHERE lanes.waiting = 0`

// holdLanes returns the lanes that this process still holds under the same fencing
// numbers, and keeps other processes from taking them until the transaction ends. It does
// not block writers that add items.
const holdLanes = `SELECT lanes.lane, lanes.fence FROM lanes JOIN unnest($1::text[], $2::bigint[]) AS m (lane, fence)
	ON lanes.lane = m.lane AND lanes.fence = m.fence WHERE lanes.owner = $3 FOR KEY SHARE OF lanes`

// begin locks the lanes of a transaction and checks the leases under which it settles
// items.
func (k *settler) begin(b *batch, group []*write) error {
	var adds, names []string
	var fences []int64
	for _, w := range group {
		adds = append(adds, w.lanes...)
		if w.lease != nil {
			names, fences = append(names, w.lease.Lane), append(fences, w.lease.Fence)
		}
	}
	if slices.Sort(adds); len(adds) > 0 {
		if _, err := b.tx.ExecContext(b.ctx, markWaiting, slices.Compact(adds)); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	rows, err := b.tx.QueryContext(b.ctx, holdLanes, names, fences, k.owner)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	mine := map[leaseID]bool{}
	for rows.Next() {
		var id leaseID
		if err := rows.Scan(&id.lane, &id.fence); err != nil {
			return err
		}
		mine[id] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for i := range names {
		if !mine[leaseID{names[i], fences[i]}] {
			return fmt.Errorf("%w: %s under %d", queue.ErrLost, names[i], fences[i])
		}
	}
	return nil
}

func (k *settler) nextSeq(b *batch) (seq int64, err error) {
	err = b.tx.QueryRowContext(b.ctx, `SELECT nextval('items_seq')`).Scan(&seq)
	return seq, err
}

// count records and announces that lanes have new items.
func (k *holder) count(in []inserted) {
	for _, i := range in {
		if l := k.held[i.item.Lane]; l != nil {
			l.more = true
			continue
		}
		k.dirty[queue.ClassOf(i.item.Lane)] = true
		k.news.say(topicLanes, i.item.Lane)
	}
}

// heard handles the news that another process has added items to lanes.
func (k *holder) heard(lanes []string) {
	k.s.mu.Lock()
	for _, lane := range lanes {
		if l := k.held[lane]; l != nil {
			l.more = true
		} else {
			k.dirty[queue.ClassOf(lane)] = true
		}
	}
	k.s.mu.Unlock()
	k.subscribers.wake()
}

// heardNothing handles that this process may have missed notifications.
func (k *holder) heardNothing() {
	k.s.mu.Lock()
	for _, l := range k.held {
		l.more = true
	}
	for class := range k.dirty {
		k.dirty[class] = true
	}
	k.s.mu.Unlock()
	k.subscribers.wake()
}

// lane returns the lane of an item that is being delivered, or nil if this process lost it.
// The caller holds writer.mu.
func (k *holder) lane(it queue.Item) *heldLane {
	if l := k.held[it.Lane]; l != nil && l.lease == it.Lease && l.out.item.ID == it.ID {
		return l
	}
	return nil
}

func (k *holder) head(it queue.Item) (head, error) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	l := k.lane(it)
	if l == nil {
		return head{}, fmt.Errorf("%w: %s", queue.ErrLost, it.Lane)
	}
	return head{seq: l.out.seq, attempts: l.out.item.Attempts}, nil
}

func (k *settler) done(b *batch, it queue.Item, _ head, receipts []queue.Receipt) error {
	for _, r := range receipts {
		b.links.add(it.ID, r)
	}
	b.gone = append(b.gone, it.ID)
	return nil
}

func (k *holder) leave(it queue.Item, _ head) {
	if l := k.lane(it); l != nil {
		l.busy, l.out, l.used = false, atHand{}, time.Now()
		if k.list(l); l.leaves {
			go k.parts(it.Lane) // it ends once the pending writes are stored
		}
	}
}

func (k *settler) giveUp(b *batch, it queue.Item, h head, cause error) error {
	_, err := b.tx.ExecContext(b.ctx, `UPDATE items SET buried = `+dbNow+`, cause = $1, attempts = $2 WHERE id = $3`, cause.Error(), h.attempts, it.ID)
	return err
}

// putOff releases the lane: any process may take it when it is due.
func (k *settler) putOff(b *batch, it queue.Item, h head, p postponed) error {
	if _, err := b.exec(retryItem, p.failed, p.cause.Error(), h.attempts, it.ID); err != nil {
		return err
	}
	_, err := b.tx.ExecContext(b.ctx, `UPDATE lanes SET owner = '', held = 0, due = `+dbNow+` + $1::bigint WHERE lane = $2 AND owner = $3 AND fence = $4`,
		p.after.Milliseconds(), it.Lane, k.owner, it.Lease.Fence)
	return err
}

func (k *holder) wait(it queue.Item, _ head, p postponed) {
	if l := k.lane(it); l != nil {
		delete(k.held, it.Lane)
	}
	class := queue.ClassOf(it.Lane)
	if at := time.Now().Add(p.after); at.Before(k.lookAt[class]) {
		k.lookAt[class] = at
	}
}

// failed gives up the lane of an item whose outcome could not be stored. When the lease
// has ended, some process takes the lane again and checks what was already delivered.
func (k *holder) failed(it queue.Item, err error) error {
	k.s.mu.Lock()
	if l := k.held[it.Lane]; l != nil && l.lease == it.Lease {
		k.drop(l)
	}
	k.s.mu.Unlock()
	return away(err)
}

func (k *settler) waiting(ctx context.Context, lane string) (n int, err error) {
	err = k.s.queryRow(ctx, `SELECT COUNT(*) FROM items WHERE lane = $1 AND buried = 0`, lane).Scan(&n)
	return n, err
}

func (k *settler) backlog(ctx context.Context) (n int64, err error) {
	err = k.s.queryRow(ctx, `SELECT COUNT(*) FROM items WHERE buried = 0`).Scan(&n)
	return n, err
}

// away marks an error as one of a database that will be usable again.
func away(err error) error {
	if err == nil || errors.Is(err, queue.ErrLost) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", queue.ErrAway, err)
}

// leaseID identifies a lease.
type leaseID struct {
	lane  string
	fence int64
}

// names returns the names of lanes, sorted.
func names(lanes []*heldLane) []string {
	out := make([]string, len(lanes))
	for i, l := range lanes {
		out[i] = l.lease.Lane
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

func newShared(s *writer, subs *subscribers, on *server, log *slog.Logger) *shared {
	p := &process{s: s, subscribers: subs, owner: strings.ToLower(rand.Text()), log: log}
	p.news = announcer{k: p, unsaid: map[string]map[string]bool{}, more: make(chan struct{}, 1)}
	h := &holder{process: p, held: map[string]*heldLane{}, left: map[string]time.Time{}, parting: make(chan struct{}, 1)}
	changed := make(chan struct{}, 1)
	return &shared{
		process: p, holder: h, settler: settler{p}, roles: roles{p}, locks: locker{on: on},
		renewer: renewer{holder: h, changed: changed}, listener: listener{holder: h, changed: changed},
	}
}

// prepareShared creates what SQLite does not have: the sequence that numbers items. It
// continues after the highest number, which an earlier release may have assigned. Lanes
// with items that such a release left are marked as waiting.
const prepareShared = `SELECT pg_advisory_xact_lock(%d);
	CREATE SEQUENCE IF NOT EXISTS items_seq;
	SELECT setval('items_seq', highest) FROM (SELECT COALESCE(MAX(seq), 0) AS highest FROM items) AS i, items_seq WHERE highest > items_seq.last_value;
	INSERT INTO lanes (lane, waiting, due, held) SELECT DISTINCT lane COLLATE "C" AS name, 1, 0, 0 FROM items WHERE buried = 0 ORDER BY name
		ON CONFLICT (lane) DO UPDATE SET waiting = 1 WHERE lanes.waiting = 0;`

// prepareLock is the number of the lock that lets one process at a time prepare.
const prepareLock = advisoryLock + 1

func (k *shared) start(ctx context.Context) error {
	if _, err := k.s.db.ExecContext(ctx, fmt.Sprintf(prepareShared, prepareLock)); err != nil {
		return fmt.Errorf("prepare the numbers of items: %w", err)
	}
	if _, err := k.s.db.ExecContext(ctx, fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d);`, prepareLock)+countChanges); err != nil {
		return fmt.Errorf("prepare the count of changes: %w", err)
	}
	if err := k.beat(ctx); err != nil {
		return fmt.Errorf("say that this process runs: %w", err)
	}
	for class := range k.dirty {
		k.dirty[class] = true
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	k.end = end
	k.running.Go(func() { k.renewals(running) })
	k.running.Go(func() { k.listen(running) })
	k.running.Go(func() { k.news.run(running) })
	k.news.say(topicBeat, k.owner)
	return nil
}
