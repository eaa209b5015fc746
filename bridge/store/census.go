package store

import (
	"context"
	"time"

	"appliance/bridge/relay/model"
)

// Census is the amount of everything that is stored.
type Census struct {
	// ToMatrix and ToRocketChat are the items of the two directions.
	ToMatrix, ToRocketChat Backlog
	DeadBy                 map[DeadKind]int64
	Portals                int64
	Ghosts, Puppets        int64
	Media                  int64 // files that were bridged
	Bytes                  int64 // size of the database
}

// DeadKind is a property that dead letters share: the side that they come from, "rc" or
// "mx", and why they were given up (model.Reasons).
type DeadKind struct{ Side, Reason string }

// maxCauses bounds how many different causes of dead letters a census distinguishes.
const maxCauses = 10_000

// Census counts everything that is stored.
func (s *operatorView) Census(ctx context.Context) (Census, error) {
	c := Census{DeadBy: map[DeadKind]int64{}}
	if err := s.countItems(ctx, &c); err != nil {
		return c, err
	}
	if err := s.countDead(ctx, &c); err != nil {
		return c, err
	}
	err := s.queryRow(ctx, `SELECT (SELECT COUNT(*) FROM portals), (SELECT COUNT(*) FROM ghosts), (SELECT COUNT(*) FROM puppets), (SELECT COUNT(*) FROM media)`).
		Scan(&c.Portals, &c.Ghosts, &c.Puppets, &c.Media)
	if err != nil {
		return c, err
	}
	size := `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
	if s.Shared() {
		size = `SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace`
	}
	return c, s.queryRow(ctx, size).Scan(&c.Bytes)
}

// backlogOf returns the backlog of the side that a lane comes from.
func (c *Census) backlogOf(side string) *Backlog {
	if side == "mx" {
		return &c.ToRocketChat
	}
	return &c.ToMatrix
}

// countItems counts the waiting items, by direction.
func (s *operatorView) countItems(ctx context.Context, c *Census) error {
	rows, err := s.query(ctx, `SELECT substr(lane, 1, 2), COUNT(*), MIN(accepted) FROM items WHERE buried = 0 GROUP BY 1`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var side string
		var n, oldest int64
		if err := rows.Scan(&side, &n, &oldest); err != nil {
			return err
		}
		b, at := c.backlogOf(side), time.UnixMilli(oldest).UTC()
		if b.Waiting += n; b.Oldest.IsZero() || at.Before(b.Oldest) {
			b.Oldest = at
		}
	}
	return rows.Err()
}

// countDead counts the dead letters, by direction and reason.
func (s *operatorView) countDead(ctx context.Context, c *Census) error {
	rows, err := s.query(ctx, `SELECT substr(lane, 1, 2), cause, COUNT(*) FROM items WHERE buried > 0 GROUP BY 1, 2 LIMIT $1`, maxCauses)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var side, cause string
		var n int64
		if err := rows.Scan(&side, &cause, &n); err != nil {
			return err
		}
		c.backlogOf(side).Dead += n
		c.DeadBy[DeadKind{side, model.Reason(cause)}] += n
	}
	return rows.Err()
}
