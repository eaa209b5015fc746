package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"appliance/bridge/queue"
)

// The column items.buried is the time at which an item became a dead letter, or 0 while
// it waits. It keeps the name from before the term changed, so that the previous release
// can still read the table.

// DeadLetter is an item that was given up, as the operator sees it: without its content.
type DeadLetter struct {
	ID       string    `json:"id"`
	Lane     string    `json:"lane"`
	Kind     string    `json:"kind"`
	Accepted time.Time `json:"accepted"`
	GaveUp   time.Time `json:"gave_up"`
	Attempts int       `json:"attempts"`
	Cause    string    `json:"cause"` // of the last failure
}

// operatorView has what the operator sees of items and lanes, and can do with dead letters.
type operatorView struct{ *writer }

const deadColumns = `SELECT id, lane, kind, accepted, buried, attempts, cause FROM items`

func scanDead(row scanner) (DeadLetter, error) {
	var d DeadLetter
	var accepted, gaveUp int64
	err := row.Scan(&d.ID, &d.Lane, &d.Kind, &accepted, &gaveUp, &d.Attempts, &d.Cause)
	d.Accepted, d.GaveUp = time.UnixMilli(accepted).UTC(), time.UnixMilli(gaveUp).UTC()
	return d, err
}

// DeadLetters lists dead letters, oldest first, at most limit of them.
func (s *operatorView) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	rows, err := s.query(ctx, deadColumns+` WHERE buried > 0 ORDER BY seq LIMIT $1`, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := []DeadLetter{}
	for rows.Next() {
		d, err := scanDead(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// ErrNotDead is wrapped by Revive and Drop when there is no such dead letter.
var ErrNotDead = errors.New("is not a dead letter, or no longer one")

// Revive puts a dead letter back into its lane, as the last item there. Its attempts are
// kept, so that the effects of earlier ones are checked for; its failures start again at
// 0.
func (s *operatorView) Revive(ctx context.Context, id string) error {
	var lane string
	if err := s.queryRow(ctx, `SELECT lane FROM items WHERE id = $1 AND buried > 0`, id).Scan(&lane); errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s %w", id, ErrNotDead)
	} else if err != nil {
		return err
	}
	var in []inserted
	return s.write(ctx, &write{lanes: []string{lane}, do: func(b *batch) error {
		it := queue.Item{ID: id}
		var accepted int64
		row := b.tx.QueryRowContext(b.ctx, `SELECT lane, kind, payload, accepted, attempts FROM items WHERE id = $1 AND buried > 0`, id)
		if err := row.Scan(&it.Lane, &it.Kind, &it.Payload, &accepted, &it.Attempts); errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%s %w", id, ErrNotDead)
		} else if err != nil {
			return err
		}
		it.Accepted = time.UnixMilli(accepted).UTC()
		seq, err := s.keeper.nextSeq(b)
		if err != nil {
			return err
		}
		in = []inserted{{seq, it}}
		_, err = b.tx.ExecContext(b.ctx, `UPDATE items SET seq = $1, buried = 0, failures = 0, cause = '' WHERE id = $2`, seq, id)
		return err
	}, committed: func() { s.keeper.count(in) }})
}

// Drop removes a dead letter. Its ID is remembered as long as that of a delivered item,
// so that re-reading a side does not bring it back.
func (s *operatorView) Drop(ctx context.Context, id string) error {
	return s.write(ctx, &write{do: func(b *batch) error {
		res, err := b.tx.ExecContext(b.ctx, `DELETE FROM items WHERE id = $1 AND buried > 0`, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("%s %w", id, errors.Join(ErrNotDead, err))
		}
		_, err = b.exec(putDone, id, time.Now().UnixMilli())
		return err
	}})
}

// LaneState is a lane with waiting items, as the operator sees it.
type LaneState struct {
	Lane    string    `json:"lane"`
	Waiting int64     `json:"waiting"`
	Oldest  time.Time `json:"oldest"` // when the oldest item was accepted
	// Due is when the first item may be tried, if its turn was put off.
	Due      time.Time `json:"due,omitzero"`
	First    string    `json:"first"` // ID of the first item
	Kind     string    `json:"kind"`  // of the first item
	Attempts int       `json:"attempts"`
	Failures int       `json:"failures"`
	Cause    string    `json:"last_error,omitempty"` // of the first item's last attempt
}

// Lanes lists the lanes with waiting items, at most limit of them, starting with the one
// that has the oldest item.
func (s *operatorView) Lanes(ctx context.Context, limit int) ([]LaneState, error) {
	rows, err := s.query(ctx, `SELECT w.lane, w.waiting, (SELECT MIN(o.accepted) FROM items o WHERE o.lane = w.lane AND o.buried = 0) AS oldest,
			COALESCE(l.due, 0), i.id, i.kind, i.attempts, i.failures, i.cause
		FROM (SELECT lane, COUNT(*) AS waiting, MIN(seq) AS first FROM items WHERE buried = 0 GROUP BY lane ORDER BY 3 LIMIT $1) AS w
		JOIN items i ON i.seq = w.first LEFT JOIN lanes l ON l.lane = w.lane ORDER BY oldest, w.lane`, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := []LaneState{}
	for rows.Next() {
		var l LaneState
		var oldest, due int64
		if err := rows.Scan(&l.Lane, &l.Waiting, &oldest, &due, &l.First, &l.Kind, &l.Attempts, &l.Failures, &l.Cause); err != nil {
			return nil, err
		}
		if l.Oldest = time.UnixMilli(oldest).UTC(); due > 0 && l.Attempts > 0 {
			l.Due = time.UnixMilli(due).UTC()
		}
		out = append(out, l)
	}
	return out, rows.Err()
}
