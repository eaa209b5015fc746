package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"appliance/bridge/queue"
)

const (
	// maxGroup is how many writes share one transaction, and so one wait for the disk.
	maxGroup = 256
	// lingers is how long patient writes wait for others to share a transaction with. With
	// some messages a second, the next message carries the record of the last delivery.
	lingers = 100 * time.Millisecond
)

var errClosed = errors.New("the database is closed")

// A write is a unit of work for the writer. do may run more than once and must set, not
// add to, the variables it captures; committed runs under writer.mu once the write is on
// disk, in the order of the commits.
type write struct {
	do        func(*batch) error
	committed func()
	result    chan error
	lanes     []string     // lanes that get new items or whose turn is put off
	lease     *queue.Lease // the lease under which an item is settled, or nil
	collects  bool         // do writes nothing itself: the keeper of a shared database writes it in flush
	patient   bool         // may linger: a caller that needs the result calls hurry
}

// writer runs one transaction at a time, for all callers that write at the same time. The
// keeper tracks the lanes, and takes committed changes into its memory at once.
type writer struct {
	*database
	keeper keeper

	writes  chan *write
	linger  time.Duration
	hurried chan struct{} // has an element when lingering writes must be written now
	closing chan struct{}
	closed  chan struct{}
	close   sync.Once

	mu      sync.Mutex // also guards the keeper
	leaving map[*leaving]bool
}

// A batch is a transaction shared by several writes.
type batch struct {
	ctx  context.Context
	s    *database
	tx   *sql.Tx // nil if a single statement writes everything
	last int64   // the highest seq assigned, if numbers are counted here

	// Collected from all writes and written together at the end.
	added  additions
	moved  map[string]string // cursors
	links  links
	gone   []string
	leases []*queue.Lease // the leases for that, if nothing else has checked them
}

// exec runs a prepared statement.
func (b *batch) exec(query string, args ...any) (sql.Result, error) {
	stmt, err := b.s.prepared(query)
	if err != nil {
		return nil, err
	}
	return b.tx.StmtContext(b.ctx, stmt).ExecContext(b.ctx, args...)
}

// query is exec for a statement that returns rows. If the batch has no transaction, the
// statement is its own. It is prepared on first use, because not all the tables it names
// exist before the keeper has started.
func (b *batch) query(query string, args ...any) (*sql.Rows, error) {
	stmt, err := b.s.reading(b.ctx, query)
	if err != nil {
		return nil, err
	}
	if b.tx != nil {
		stmt = b.tx.StmtContext(b.ctx, stmt)
	}
	return stmt.QueryContext(b.ctx, args...)
}

// write sends a write and returns when it is on disk. Writes that arrive while the disk
// is busy are written together.
func (s *writer) write(ctx context.Context, w *write) error {
	if err := s.send(ctx, w); err != nil {
		return err
	}
	return s.outcome(w)
}

// outcome waits for the result of a write that was sent. It does not give up early, because
// the write may already be under way. A write sent after the writer stopped has failed.
func (s *writer) outcome(w *write) error {
	select {
	case err := <-w.result:
		return err
	case <-s.closed:
	}
	select {
	case err := <-w.result:
		return err
	default:
		return errClosed
	}
}

// send is write without waiting for the result. Writes are written in the order in which
// they were sent.
func (s *writer) send(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.result = make(chan error, 1)
	select {
	case s.writes <- w:
		return nil
	case <-s.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes until Close.
func (s *writer) run() {
	defer close(s.closed)
	for {
		select {
		case w := <-s.writes:
			s.commit(s.gather(w))
		case <-s.closing:
			for { // answer the writes that were already accepted
				select {
				case w := <-s.writes:
					w.result <- errClosed
				default:
					return
				}
			}
		}
	}
}

// gather returns a write and those sent after it. It lingers while all of them are
// patient.
func (s *writer) gather(first *write) []*write {
	group, patient := []*write{first}, first.patient
	var over <-chan time.Time // set when it lingers
	for len(group) < maxGroup {
		select {
		case w := <-s.writes:
			group, patient = append(group, w), patient && w.patient
			continue
		default:
		}
		if !patient {
			break
		}
		if over == nil {
			timer := time.NewTimer(s.linger)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case w := <-s.writes:
			group, patient = append(group, w), patient && w.patient
		case <-s.hurried: // for a write sent earlier that may not be in the group yet
			patient = false
		case <-over:
			patient = false
		case <-s.closing:
			patient = false
		}
	}
	return group
}

// hurry makes the writer flush everything sent so far. It never blocks.
func (s *writer) hurry() {
	select {
	case s.hurried <- struct{}{}:
	default:
	}
}

// commit writes a group in one transaction. If that fails, each write gets its own
// transaction, so that none fails because of another. If the database did not answer, the
// writes are not tried one by one.
func (s *writer) commit(group []*write) {
	err := s.transaction(group...)
	if err == nil {
		return
	}
	if len(group) == 1 || s.Shared() && !answered(err) {
		for _, w := range group {
			w.result <- err
		}
		return
	}
	for _, w := range group {
		if err := s.transaction(w); err != nil {
			w.result <- err
		}
	}
}

// answered reports whether an error is a reply from the database, rather than a missing one.
func answered(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok || errors.Is(err, queue.ErrLost) || errors.Is(err, ErrNotDead)
}

// writePatience bounds a transaction on a database that may not answer. A transaction
// that takes longer counts as failed.
const writePatience = 10 * time.Second

func (s *writer) transaction(group ...*write) error {
	ctx := context.Background() // a write does not end with the context of its caller
	if s.Shared() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, writePatience)
		defer cancel()
	}
	put := s.inTransaction
	if s.Shared() && !slices.ContainsFunc(group, func(w *write) bool { return !w.collects }) {
		put = s.inOneStatement
	}
	if err := put(ctx, group); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range group {
		if w.committed != nil {
			w.committed()
		}
		w.result <- nil
	}
	return nil
}

func (s *writer) inTransaction(ctx context.Context, group []*write) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	b := &batch{ctx: ctx, s: s.database, tx: tx}
	if err := s.keeper.begin(b, group); err != nil {
		return err
	}
	if err := s.doAll(b, group); err != nil {
		return err
	}
	return tx.Commit()
}

// inOneStatement writes the most frequent writes, which need neither BEGIN nor COMMIT.
func (s *writer) inOneStatement(ctx context.Context, group []*write) error {
	b := &batch{ctx: ctx, s: s.database}
	for _, w := range group {
		if w.lease != nil {
			b.leases = append(b.leases, w.lease)
		}
	}
	return s.doAll(b, group)
}

func (s *writer) doAll(b *batch, group []*write) error {
	for _, w := range group {
		if err := w.do(b); err != nil {
			return err
		}
	}
	return s.keeper.flush(b)
}
