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
	// lingers is how long writes that are patient wait for others to share a transaction with.
	lingers = 5 * time.Millisecond
)

var errClosed = errors.New("the database is closed")

// A write is something to be written. do may run more than once and must set, not
// add to, what it captures; committed runs once it is on disk, in the order of
// commits, under writer.mu.
type write struct {
	do        func(*batch) error
	committed func()
	result    chan error
	lanes     []string     // to which it adds items, or whose turn it puts off
	lease     *queue.Lease // under which it settles an item; nil for none
	collects  bool         // do writes nothing itself: a keeper that shares its database writes it in flush
	patient   bool         // it may linger: who needs its outcome hurries the writer
}

// writer writes: one transaction at a time, for all that ask at the same time. The keeper
// knows the lanes, and what has been committed is taken into its memory at once.
type writer struct {
	*database
	keeper keeper

	writes  chan *write
	linger  time.Duration
	hurried chan struct{} // has one when what lingers is to be written now
	closing chan struct{}
	closed  chan struct{}
	close   sync.Once

	mu      sync.Mutex // of the keeper too
	leaving map[*leaving]bool
}

// A batch is a transaction that several writes share.
type batch struct {
	ctx  context.Context
	s    *database
	tx   *sql.Tx // nil where one statement writes everything
	last int64   // the highest seq given, where that is counted here

	// What is written at the end for all writes together.
	added  additions
	moved  map[string]string // cursors
	links  links
	gone   []string
	leases []*queue.Lease // under which that is done, if nothing else has checked them
}

// exec runs a statement that is prepared once.
func (b *batch) exec(query string, args ...any) (sql.Result, error) {
	stmt, err := b.s.prepared(query)
	if err != nil {
		return nil, err
	}
	return b.tx.StmtContext(b.ctx, stmt).ExecContext(b.ctx, args...)
}

// query is exec for a statement that answers with rows. It is a transaction of its own where
// the batch has none. It is prepared when it is first used: not all it names is there before
// the keeper has begun.
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

// write has something written and returns when it is on disk. Writes that come
// while the disk is busy are written together.
func (s *writer) write(ctx context.Context, w *write) error {
	if err := s.send(ctx, w); err != nil {
		return err
	}
	return s.outcome(w)
}

// outcome waits for what became of a write that was sent: it is being written, so that must
// be known. One that was sent when nothing was taken any more has failed.
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

// send is write without the waiting. Writes are written in the order in which they
// were sent.
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
			for { // who was already let in gets an answer
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

// gather returns a write and what was sent after it. As long as all of it is patient it
// lingers.
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
		case <-s.hurried: // for one that was sent before, and may not be in the group yet
			patient = false
		case <-over:
			patient = false
		case <-s.closing:
			patient = false
		}
	}
	return group
}

// hurry has everything written that was sent before. It never blocks.
func (s *writer) hurry() {
	select {
	case s.hurried <- struct{}{}:
	default:
	}
}

// commit writes a group in one transaction. When that fails each is written in one
// of its own, so that no write fails because of another. A database that does not
// answer is not asked again for each.
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

// answered reports whether an error is an answer, and not the lack of one.
func answered(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok || errors.Is(err, queue.ErrLost) || errors.Is(err, ErrNotDead)
}

// writePatience bounds a transaction on a database that may not answer. One that is
// longer under way has failed, as far as is known here.
const writePatience = 10 * time.Second

func (s *writer) transaction(group ...*write) error {
	ctx := context.Background() // a write is never abandoned because of who asked for it
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

// inOneStatement writes what is written most often: it needs neither BEGIN nor COMMIT.
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
