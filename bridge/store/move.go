package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// A Moving describes a move of a bridge's data. The addresses are as for Open; no bridge
// may run on either database.
type Moving struct {
	From, To string
	DryRun   bool                                  // only inspect both ends, change nothing
	Progress func(table string, rows, total int64) // may be nil; called every few thousand rows
	Log      *slog.Logger                          // may be nil

	at func(point string) // for tests: called at points where a crash matters
}

// Moved is what Move did, or would do.
type Moved struct {
	From    string       `json:"from"` // display names, without passwords
	To      string       `json:"to"`
	Tables  []MovedTable `json:"tables"`
	Rows    int64        `json:"rows"`
	Already bool         `json:"already,omitempty"` // an earlier call had copied everything
	Changed int64        `json:"changed,omitempty"` // texts stripped of what PostgreSQL cannot store: NUL and invalid UTF-8
	DryRun  bool         `json:"dry_run,omitempty"`
	Took    float64      `json:"seconds"`
}

// MovedTable is a table that is identical on both ends.
type MovedTable struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`
	Checksum string `json:"checksum,omitempty"` // of all rows in any order, in hexadecimal; "" in a dry run
}

// Move copies everything that a bridge has stored to another database, and reads it back
// there: the row count and a checksum of every table must match. From then on Open
// refuses the first database, which may be filled again by a move in the other direction.
//
// The data is copied in one transaction. Wherever a move is interrupted, one of the two
// databases is the bridge's, and the same call starts again or completes it: the copy is
// committed as 'arriving', then the old database is marked as 'left', then the new one as
// 'home'. Open refuses the first two.
func Move(ctx context.Context, m Moving) (Moved, error) {
	begin := time.Now()
	if m.Progress == nil {
		m.Progress = func(string, int64, int64) {}
	}
	if m.at == nil {
		m.at = func(string) {}
	}
	o, err := optionsOf(nil)
	if err != nil {
		return Moved{}, err
	}
	if m.Log != nil {
		o.log = m.Log
	}
	if file, ok := strings.CutPrefix(m.From, "sqlite:"); ok {
		if _, err := os.Stat(file); err != nil { // opening would create it
			return Moved{}, fmt.Errorf("the database to move from: %w", explained(file, err))
		}
	}
	from, err := openEnd(ctx, m.From, o, m.DryRun)
	if err != nil {
		return Moved{}, fmt.Errorf("the database to move from: %w", err)
	}
	defer from.close()
	to, err := openEnd(ctx, m.To, o, m.DryRun)
	if err != nil {
		return Moved{From: from.name}, fmt.Errorf("the database to move to: %w", err)
	}
	defer to.close()
	done, err := (&mover{Moving: m, from: from, to: to}).run(ctx)
	done.From, done.To, done.DryRun, done.Took = from.name, to.name, m.DryRun, time.Since(begin).Seconds()
	return done, err
}

// A mover carries out one Move.
type mover struct {
	Moving
	from, to *end
	done     Moved
}

func (m *mover) run(ctx context.Context) (Moved, error) {
	if err := m.examine(); err != nil {
		return m.done, err
	}
	if m.DryRun {
		return m.done, m.rehearse(ctx)
	}
	if m.from.mark.state == left { // already copied; only the last step may be missing
		m.done.Already = true
		return m.done, m.settle(ctx)
	}
	for _, e := range []*end{m.from, m.to} {
		if err := e.begin(ctx); err != nil {
			return m.done, err
		}
	}
	m.at("begun")
	if err := m.copy(ctx); err != nil {
		return m.done, fmt.Errorf("copy %s to %s: %w", m.from.name, m.to.name, err)
	}
	token := strings.ToLower(rand.Text())
	if err := (moveMark{token, arriving, m.from.name}).put(ctx, m.to.tx); err != nil {
		return m.done, err
	}
	m.at("copied")
	if err := m.to.commit(); err != nil {
		return m.done, err
	}
	m.at("arriving")
	m.to.mark.token = token
	if err := m.from.leave(ctx, moveMark{token, left, m.to.name}); err != nil {
		return m.done, err
	}
	m.at("left")
	return m.done, m.settle(ctx)
}

// examine refuses ends whose marks show that there is nothing to move, or no room for it.
func (m *mover) examine() error {
	from, to := m.from.mark, m.to.mark
	switch {
	case m.from.place == m.to.place:
		return refused("nothing has to be moved", "%s is the one to move from", m.to.name)
	case from.state == arriving:
		return refused("complete that one first: the same command with --to naming "+m.from.name, "%s is incomplete: a move to it from %s was interrupted", m.from.name, from.other)
	case from.state == left && (to.token != from.token || to.state == left):
		return refused("move it from there", "%s has no data to move: that was moved to %s", m.from.name, from.other)
	case from.state == left || to.state == arriving || to.state == left || m.to.rows == 0:
		return nil
	}
	return refused("name an empty one, such as another schema of it: ?search_path=…", "%s has the data of a bridge already: %d rows", m.to.name, m.to.rows)
}

// settle marks the new database as the one in use.
func (m *mover) settle(ctx context.Context) error {
	if m.to.mark.state == home && m.done.Already {
		return nil
	}
	if err := m.to.begin(ctx); err != nil {
		return err
	}
	if err := (moveMark{m.to.mark.token, home, m.from.name}).put(ctx, m.to.tx); err != nil {
		return err
	}
	if err := m.to.commit(); err != nil {
		return err
	}
	m.at("home")
	return nil
}

// rehearse counts what would be moved.
func (m *mover) rehearse(ctx context.Context) error {
	tables, err := tableNames(ctx, m.from.db, m.from.list())
	if err != nil {
		return err
	}
	for _, name := range movedTables {
		t := MovedTable{Name: name}
		if tables[name] {
			if t.Rows, err = count(ctx, m.from.db, name); err != nil {
				return err
			}
		}
		m.done.Tables, m.done.Rows = append(m.done.Tables, t), m.done.Rows+t.Rows
	}
	return nil
}

func count(ctx context.Context, db querier, table string) (n int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n)
	return n, err
}

// copy fills the new database and compares it with the old one.
func (m *mover) copy(ctx context.Context) error {
	for _, name := range movedTables {
		if _, err := m.to.tx.ExecContext(ctx, `DELETE FROM `+name); err != nil { //nolint:gosec // one of movedTables; the rows are of an earlier move
			return err
		}
	}
	for _, name := range movedTables {
		total, err := count(ctx, m.from.tx, name)
		if err != nil {
			return err
		}
		read, err := m.table(ctx, name, total)
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		m.at("table " + name)
		there, err := m.check(ctx, name)
		if err != nil {
			return fmt.Errorf("read the table %s again: %w", name, err)
		}
		if there.sum != read.sum || there.rows != read.rows || read.rows != total {
			return fmt.Errorf("the table %s is not the same on both sides: %d rows with checksum %s, and %d with %s", name, read.rows, read, there.rows, there)
		}
		m.done.Changed += read.changed
		m.done.Tables = append(m.done.Tables, MovedTable{Name: name, Rows: read.rows, Checksum: read.String()})
		m.done.Rows += read.rows
	}
	if m.to.postgres() { // with SQLite this is done at every start; see markDoubtful
		if _, err := m.to.tx.ExecContext(ctx, markDoubtful); err != nil {
			return fmt.Errorf("mark unfinished items: %w", err)
		}
	}
	return nil
}

// table copies one table and returns what was written.
func (m *mover) table(ctx context.Context, name string, total int64) (sum digest, err error) {
	columns, err := columnsOf(ctx, m.to.tx, name)
	if err != nil {
		return sum, err
	}
	rows, err := readTable(ctx, m.from.tx, name, columns)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	shown := time.Now()
	err = m.to.fill(ctx, name, columns, func() ([]any, error) {
		row, err := rows.next()
		if err != nil || row == nil {
			return nil, err
		}
		sum.changed += clean(columns, row)
		sum.add(columns, row)
		if time.Since(shown) > progressEvery {
			shown = time.Now()
			m.Progress(name, sum.rows, total)
		}
		return row, nil
	})
	m.Progress(name, sum.rows, total)
	return sum, err
}

const progressEvery = 200 * time.Millisecond

// check reads a table of the new database.
func (m *mover) check(ctx context.Context, name string) (sum digest, err error) {
	columns, err := columnsOf(ctx, m.to.tx, name)
	if err != nil {
		return sum, err
	}
	rows, err := readTable(ctx, m.to.tx, name, columns)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		row, err := rows.next()
		if err != nil || row == nil {
			return sum, err
		}
		sum.add(columns, row)
	}
}
