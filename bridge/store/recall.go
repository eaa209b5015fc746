package store

import (
	"sync"
	"time"
)

const (
	// maxRecalled bounds how many answers about one table are kept in memory.
	maxRecalled = 8192
	// recalledFor is for how long what was read of a shared database is relied on without
	// hearing from it. A process that carries messages hears with every one of them.
	recalledFor = time.Second
)

// A recall keeps what was read of a table that is asked for every message and rarely
// changes: who a person is, and which portal a room has. A write to the table forgets all
// of it, also one of another process; see changes. It is safe for concurrent use.
type recall[T any] struct {
	changes *changes
	none    bool // new rows count as changes, so that an absence is recalled too
	mu      sync.Mutex
	rows    map[recallKey]recalled[T]
	version int // how often rows was emptied
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
	if r.version != version { // the table was written since: the answer may be an old one
		return row, there, nil
	}
	if r.rows == nil {
		r.rows = map[recallKey]recalled[T]{}
	}
	for some := range r.rows { // they come in no order
		if len(r.rows) < maxRecalled {
			break
		}
		delete(r.rows, some)
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

// changes is what is known of changes by other processes to the tables that are recalled.
// PostgreSQL counts them, in the transactions that make them (countChanges), and the count
// comes with what is asked for every message anyway: when one is read from Rocket.Chat, and
// when items are stored, read and settled. So nothing is read or delivered by what was true
// only before it was there, and what is recalled is true, or was within recalledFor.
type changes struct {
	shared bool     // whether other processes may change something
	forget []func() // empties the recalls

	mu    sync.Mutex
	count int64
	at    time.Time // when it was asked for
}

// note takes how many changes there had been when something was asked.
func (c *changes) note(count int64, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	later := asked.After(c.at)
	if count < c.count && !later {
		return // of an earlier moment
	}
	if later {
		c.at = asked
	}
	if count != c.count { // less when a standby took over that had lost something
		c.count = count
		for _, forget := range c.forget {
			forget()
		}
	}
}

// heard reports whether other processes had changed nothing just now.
func (c *changes) heard() bool {
	if !c.shared {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.at) < recalledFor
}

// doubt makes everything be read again. What a process does under a lock rests on what others
// have done under it.
func (c *changes) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, forget := range c.forget {
		forget()
	}
}

// changeCount reads how many changes there have been.
const changeCount = `(SELECT count FROM change_count)`

// countChanges makes PostgreSQL count the statements that change or remove rows, whichever
// release of the bridge makes them, or an operator. New ghosts and portals are not counted:
// there are many in a busy hour, and that there was none is not recalled.
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
