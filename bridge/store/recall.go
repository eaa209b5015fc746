package store

import "sync"

// maxRecalled bounds how many answers about one table are kept in memory.
const maxRecalled = 2048

// A recall keeps what was read of a table that is asked for every message and rarely
// changes: who a person is, and which portal a room has. A write to the table forgets all
// of it. Only a database that belongs to one process has one: another process would
// change what this one remembers. It is safe for concurrent use.
type recall[T any] struct {
	mu      sync.Mutex
	on      bool
	rows    map[recallKey]recalled[T]
	version int // of the table: how often it was written
}

// recallKey says what was asked for: the row whose column has a value.
type recallKey struct{ column, value string }

// recalled is an answer; found is false when there is no such row.
type recalled[T any] struct {
	row   T
	found bool
}

// get returns the row whose column has a value, from memory or else as read returns it.
func (r *recall[T]) get(column, value string, read func() (T, error)) (T, bool, error) {
	if !r.on {
		return found(read())
	}
	key := recallKey{column, value}
	r.mu.Lock()
	known, ok := r.rows[key]
	version := r.version
	r.mu.Unlock()
	if ok {
		return known.row, known.found, nil
	}
	row, there, err := found(read())
	if err != nil {
		return row, there, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version { // the table was written since: the answer may be an old one
		return row, there, nil
	}
	if r.rows == nil || len(r.rows) >= maxRecalled {
		r.rows = map[recallKey]recalled[T]{}
	}
	r.rows[key] = recalled[T]{row, there}
	return row, there, nil
}

// forget is called after each write to the table, also after one that may have failed.
func (r *recall[T]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version++
	clear(r.rows)
}
