package store

import (
	"sync"
	"time"
)

const (
	// maxRecalled bounds how many results per table are cached.
	maxRecalled = 8192
	// recalledFor is how long cached rows of a shared database are trusted without news
	// from it. A process that carries messages gets news with every one of them.
	recalledFor = time.Second
)

// A recall caches rows of a table that is read for every message and rarely changes: who
// a person is, and which portal a room has. A write to the table empties the cache, even
// a write by another process; see changes. It is safe for concurrent use.
type recall[T any] struct {
	changes *changes
	none    bool // new rows count as changes, so that a missing row can be cached too
	mu      sync.Mutex
	rows    map[recallKey]recalled[T]
	version int // how often rows was cleared
}

// recallKey identifies a row by the value of a column.
type recallKey struct{ column, value string }

// recalled is a cached result; found is false when there is no such row.
type recalled[T any] struct {
	row   T
	found bool
}

// get returns the row whose column has a value, from the cache or otherwise from read.
func (r *recall[T]) get(column, value string, read func() (T, error)) (T, bool, error) {
	key := recallKey{column, value}
	r.mu.Lock()
	known, ok := r.rows[key]
	version := r.version
	r.mu.Unlock()
	if ok && r.changes.heard() {
		return known.row, known.found, nil
	}
	row, there, err := found(read())
	if err != nil || !there && r.changes.shared && !r.none {
		return row, there, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version { // the table was written since: the result may be stale
		return row, there, nil
	}
	if r.rows == nil {
		r.rows = map[recallKey]recalled[T]{}
	}
	for some := range r.rows { // in random order
		if len(r.rows) < maxRecalled {
			break
		}
		delete(r.rows, some)
	}
	r.rows[key] = recalled[T]{row, there}
	return row, there, nil
}

// forget is called after each write to the table, even one that may have failed.
func (r *recall[T]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version++
	clear(r.rows)
}

// changes tracks changes by other processes to the cached tables. PostgreSQL counts them,
// in the transactions that make them (countChanges), and the count is part of queries
// made for every message anyway: when one is read from Rocket.Chat, and when items are
// stored, read and settled. So nothing is read or delivered based on state older than
// itself, and cached rows are current, or were within recalledFor.
type changes struct {
	shared bool     // whether other processes may change the tables
	forget []func() // clears the caches

	mu    sync.Mutex
	count int64
	at    time.Time // when it was requested
}

// note records the number of changes at the time of a request.
func (c *changes) note(count int64, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	later := asked.After(c.at)
	if count < c.count && !later {
		return // stale
	}
	if later {
		c.at = asked
	}
	if count != c.count { // lower when a standby that had lost changes took over
		c.count = count
		for _, forget := range c.forget {
			forget()
		}
	}
}

// heard reports whether the caches were recently confirmed to be current.
func (c *changes) heard() bool {
	if !c.shared {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.at) < recalledFor
}

// doubt makes everything be read again: work under a lock depends on what other processes
// did under it.
func (c *changes) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, forget := range c.forget {
		forget()
	}
}

// changeCount reads the number of changes so far.
const changeCount = `(SELECT count FROM change_count)`

// countChanges makes PostgreSQL count the statements that change or remove rows, whether
// made by any release of the bridge or by an operator. New ghosts and portals are not
// counted: there are many in a busy hour, and their absence is not cached.
const countChanges = `
CREATE TABLE IF NOT EXISTS change_count (one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one), count BIGINT NOT NULL);
INSERT INTO change_count (count) VALUES (0) ON CONFLICT DO NOTHING;
CREATE OR REPLACE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $body$
BEGIN
	IF TG_OP = 'DELETE' THEN
		PERFORM 1 FROM before LIMIT 1;
	ELSIF TG_OP = 'INSERT' THEN
		PERFORM 1 FROM after LIMIT 1;
	ELSE
		PERFORM 1 FROM (SELECT * FROM before EXCEPT SELECT * FROM after) AS changed LIMIT 1;
	END IF;
	IF FOUND THEN
		UPDATE change_count SET count = count + 1;
	END IF;
	RETURN NULL;
END $body$;
DO $body$
DECLARE t TEXT;
BEGIN
	FOREACH t IN ARRAY ARRAY['portals', 'ghosts', 'puppets', 'doubles'] LOOP
		IF NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = t::regclass AND tgname = 'count_removed') THEN
			EXECUTE format('CREATE TRIGGER count_removed AFTER DELETE ON %I REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION count_change()', t);
			EXECUTE format('CREATE TRIGGER count_updated AFTER UPDATE ON %I REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_change()', t);
			IF t IN ('puppets', 'doubles') THEN
				EXECUTE format('CREATE TRIGGER count_added AFTER INSERT ON %I REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_change()', t);
			END IF;
		END IF;
	END LOOP;
END $body$;`
