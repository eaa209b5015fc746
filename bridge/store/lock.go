package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"sync"
	"time"
)

const (
	// lockClass separates the numbers of these locks from others in the database.
	lockClass = 0x6d78
	// lockedFor is how long a suspended process keeps its locks. Work under a lock takes
	// less time.
	lockedFor = "60s"
	// maxLocks is the maximum number of keys that a process locks at once.
	maxLocks = 16
)

// locker locks keys among all processes that share the database, with PostgreSQL advisory
// locks. It has its own connections, because the work under a lock needs the others.
type locker struct {
	on   *server
	once sync.Once
	db   *sql.DB
}

func (l *locker) open() *sql.DB {
	l.once.Do(func() {
		session := maps.Clone(l.on.session)
		session["idle_in_transaction_session_timeout"] = lockedFor
		l.db = sql.OpenDB(session.connector(l.on.cfg))
		l.db.SetMaxOpenConns(maxLocks)
		l.db.SetMaxIdleConns(1)
		l.db.SetConnMaxIdleTime(time.Minute)
	})
	return l.db
}

func (l *locker) close() {
	l.once.Do(func() {})
	if l.db != nil {
		_ = l.db.Close()
	}
}

// Lock locks a key among all processes that share the database, or fails after a few
// seconds.
func (s *team) Lock(key string) (unlock func(), err error) {
	k, ok := s.keeper.(*shared)
	if !ok {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), writePatience)
	defer cancel()
	// The transaction outlives this call, and so must its context.
	tx, err := k.locks.open().BeginTx(context.Background(), nil)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", key, err)
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1, hashtext($2))`, lockClass, key); err != nil {
		_ = tx.Rollback()
		return nil, fmt.Errorf("lock %s: %w", key, err)
	}
	s.changes.doubt()
	return func() { _ = tx.Rollback() }, nil
}
