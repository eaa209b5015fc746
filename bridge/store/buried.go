package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"appliance/bridge/queue"
)

// Buried is an item that was given up, as the operator sees it: without what it
// says.
type Buried struct {
	ID       string    `json:"id"`
	Lane     string    `json:"lane"`
	Kind     string    `json:"kind"`
	Accepted time.Time `json:"accepted"`
	Buried   time.Time `json:"buried"`
	Attempts int       `json:"attempts"`
	Cause    string    `json:"cause"` // of the last failure
}

// GivenUp lists what was buried, oldest first, at most limit of it.
func (s *Store) GivenUp(ctx context.Context, limit int) ([]Buried, error) {
	rows, err := s.query(ctx, `SELECT id, lane, kind, accepted, buried, attempts, cause FROM items WHERE buried > 0 ORDER BY seq LIMIT $1`, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := []Buried{}
	for rows.Next() {
		var b Buried
		var accepted, buried int64
		if err := rows.Scan(&b.ID, &b.Lane, &b.Kind, &accepted, &buried, &b.Attempts, &b.Cause); err != nil {
			return nil, err
		}
		b.Accepted, b.Buried = time.UnixMilli(accepted).UTC(), time.UnixMilli(buried).UTC()
		out = append(out, b)
	}
	return out, rows.Err()
}

// ErrNotBuried is wrapped by Unbury when there is no such item.
var ErrNotBuried = errors.New("was not given up, or is not there any more")

// Unbury puts an item that was given up back into its lane, behind what waits
// there. Its attempts count on, so that what an earlier one may have done is
// looked for; its failures begin anew.
func (s *Store) Unbury(ctx context.Context, id string) error {
	var in []inserted
	err := s.write(ctx, func(b *batch) error {
		in = nil
		it := queue.Item{ID: id}
		var accepted int64
		row := b.tx.QueryRowContext(b.ctx, `SELECT lane, kind, payload, accepted, attempts FROM items WHERE id = $1 AND buried > 0`, id)
		if err := row.Scan(&it.Lane, &it.Kind, &it.Payload, &accepted, &it.Attempts); err != nil {
			return fmt.Errorf("%s %w", id, ErrNotBuried)
		}
		it.Accepted = time.UnixMilli(accepted).UTC()
		b.last++
		if _, err := b.tx.ExecContext(b.ctx, `UPDATE items SET seq = $1, buried = 0, failures = 0, cause = '' WHERE id = $2`, b.last, id); err != nil {
			return err
		}
		in = []inserted{{b.last, it}}
		return nil
	}, func() { s.count(in) })
	return err
}
