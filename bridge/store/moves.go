package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// States of a database that took part in a move; see migration 10.
const (
	arriving = "arriving"
	home     = "home"
	left     = "left"
)

// moveMark is what a database records about the move it took part in.
type moveMark struct{ token, state, other string }

// markOf reads the mark of a database, which has none before its first move. listTables
// lists its tables: a database of an earlier release has no table of moves.
func markOf(ctx context.Context, db querier, listTables string) (m moveMark, err error) {
	tables, err := tableNames(ctx, db, listTables)
	if err != nil || !tables["moves"] {
		return m, err
	}
	err = db.QueryRowContext(ctx, `SELECT token, state, other FROM moves`).Scan(&m.token, &m.state, &m.other)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return m, err
}

// put replaces the mark of a database.
func (m moveMark) put(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM moves`); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO moves (token, state, other, at) VALUES ($1, $2, $3, $4)`, m.token, m.state, m.other, time.Now().UnixMilli())
	return err
}

// examineMove refuses a database whose data was moved away, and one that a move has not
// completely filled: an item in both would be delivered twice.
func examineMove(ctx context.Context, db querier, name string, postgres bool) error {
	list := tablesOfSQLite
	if postgres {
		list = tablesOfPostgres
	}
	m, err := markOf(ctx, db, list)
	switch {
	case err != nil:
		return explained(name, err)
	case m.state == left:
		return refused("name that one as database in bridge.yaml, or move the data back: appliance bridge migrate-database", "%s is no longer in use: its data was moved to %s", name, m.other)
	case m.state == arriving:
		return refused("complete it with the same command again: appliance bridge migrate-database", "%s is incomplete: a move from %s was interrupted", name, m.other)
	}
	return nil
}
