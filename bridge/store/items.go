package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"appliance/bridge/queue"
)

func fsSub() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Add implements queue.Backend.
func (s *Store) Add(ctx context.Context, now time.Time, items ...queue.Item) (int, error) {
	return s.Accept(ctx, now, items, nil)
}

// Accept implements relay.Store.
func (s *Store) Accept(ctx context.Context, now time.Time, items []queue.Item, cursors map[string]string) (added int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if added, last, err = insertItems(ctx, tx, now, items, last); err != nil {
			return err
		}
		return putCursors(ctx, tx, cursors)
	})
	if err != nil {
		return 0, fmt.Errorf("store %d events: %w", len(items), err)
	}
	s.last = last
	return added, nil
}

// insertItems adds what is new and returns how many that were and the last seq.
func insertItems(ctx context.Context, tx *sql.Tx, now time.Time, items []queue.Item, last int64) (int, int64, error) {
	added := 0
	for _, it := range items {
		payload := it.Payload
		if payload == nil {
			payload = []byte{}
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO items (seq, id, lane, kind, payload, accepted)
			SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), $5, CAST($6 AS BIGINT)
			WHERE NOT EXISTS (SELECT 1 FROM done WHERE id = $2) AND NOT EXISTS (SELECT 1 FROM items WHERE id = $2)`,
			last+1, it.ID, it.Lane, it.Kind, payload, now.UnixMilli())
		if err != nil {
			return 0, 0, err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			continue
		}
		added++
		last++
		if _, err := tx.ExecContext(ctx, `INSERT INTO lanes (lane, waiting, due, held) VALUES ($1, 1, $2, 0)
			ON CONFLICT (lane) DO UPDATE SET waiting = lanes.waiting + 1`, it.Lane, now.UnixMilli()); err != nil {
			return 0, 0, err
		}
	}
	return added, last, nil
}

func putCursors(ctx context.Context, tx *sql.Tx, cursors map[string]string) error {
	for name, value := range cursors {
		if _, err := tx.ExecContext(ctx, `INSERT INTO cursors (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value); err != nil {
			return err
		}
	}
	return nil
}

// Claim implements queue.Backend.
func (s *Store) Claim(ctx context.Context, now time.Time, lease time.Duration) (it queue.Item, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		ms := now.UnixMilli()
		err := tx.QueryRowContext(ctx, `SELECT lane FROM lanes WHERE due <= $1 AND held <= $1 ORDER BY due LIMIT 1`, ms).Scan(&it.Lane)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE lanes SET held = $1 WHERE lane = $2`, now.Add(lease).UnixMilli(), it.Lane); err != nil {
			return err
		}
		var seq, accepted int64
		err = tx.QueryRowContext(ctx, `SELECT seq, id, kind, payload, accepted, attempts, failures FROM items
			WHERE lane = $1 AND buried = 0 ORDER BY seq LIMIT 1`, it.Lane).
			Scan(&seq, &it.ID, &it.Kind, &it.Payload, &accepted, &it.Attempts, &it.Failures)
		if err != nil {
			return err
		}
		it.Accepted = time.UnixMilli(accepted).UTC()
		_, err = tx.ExecContext(ctx, `UPDATE items SET attempts = attempts + 1 WHERE seq = $1`, seq)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return queue.Item{}, false, nil
	}
	return it, err == nil, err
}

// Next implements queue.Backend.
func (s *Store) Next(ctx context.Context) (time.Time, bool, error) {
	var ms sql.NullInt64
	if err := s.read.QueryRowContext(ctx, `SELECT MIN(due) FROM lanes WHERE held = 0`).Scan(&ms); err != nil || !ms.Valid {
		return time.Time{}, false, err
	}
	return time.UnixMilli(ms.Int64).UTC(), true, nil
}

// Done implements queue.Backend.
func (s *Store) Done(ctx context.Context, it queue.Item, receipts []queue.Receipt) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		for _, r := range receipts {
			if _, err := tx.ExecContext(ctx, `INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event, mx_sender) VALUES ($1, $2, $3, $4, $5, $6, $7)
				ON CONFLICT (item, part) DO UPDATE SET rc_message = excluded.rc_message, mx_event = excluded.mx_event`,
				it.ID, r.Part, r.RCRoom, r.RCMessage, r.MXRoom, r.MXEvent, r.MXSender); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM items WHERE id = $1`, it.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO done (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, it.ID, time.Now().UnixMilli()); err != nil {
			return err
		}
		return leave(ctx, tx, it.Lane)
	})
}

// Bury implements queue.Backend.
func (s *Store) Bury(ctx context.Context, it queue.Item, cause error) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE items SET buried = $1, cause = $2 WHERE id = $3`, time.Now().UnixMilli(), cause.Error(), it.ID); err != nil {
			return err
		}
		return leave(ctx, tx, it.Lane)
	})
}

// leave frees a lane that has one item less.
func leave(ctx context.Context, tx *sql.Tx, lane string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE lanes SET waiting = waiting - 1, held = 0, due = 0 WHERE lane = $1`, lane); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM lanes WHERE lane = $1 AND waiting <= 0`, lane)
	return err
}

// Retry implements queue.Backend.
func (s *Store) Retry(ctx context.Context, it queue.Item, at time.Time, failed bool, cause error) error {
	count := 0
	if failed {
		count = 1
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE items SET failures = failures + $1, cause = $2 WHERE id = $3`, count, cause.Error(), it.ID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE lanes SET due = $1, held = 0 WHERE lane = $2`, at.UnixMilli(), it.Lane)
		return err
	})
}

// Renew implements queue.Backend.
func (s *Store) Renew(ctx context.Context, it queue.Item, until time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE lanes SET held = $1 WHERE lane = $2 AND held > 0`, until.UnixMilli(), it.Lane)
	return err
}

// Buried lists what was buried, oldest first.
func (s *Store) Buried(ctx context.Context) ([]queue.Item, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, lane, kind, payload, accepted, attempts, failures FROM items WHERE buried > 0 ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []queue.Item
	for rows.Next() {
		var it queue.Item
		var accepted int64
		if err := rows.Scan(&it.ID, &it.Lane, &it.Kind, &it.Payload, &accepted, &it.Attempts, &it.Failures); err != nil {
			return nil, err
		}
		it.Accepted = time.UnixMilli(accepted).UTC()
		out = append(out, it)
	}
	return out, rows.Err()
}

// Backlog is how much waits.
type Backlog struct {
	Waiting, Buried int64
	Oldest          time.Time // acceptance of the oldest waiting item; zero when none waits
}

// Backlog counts what waits and what was buried.
func (s *Store) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	var oldest sql.NullInt64
	err := s.read.QueryRowContext(ctx, `SELECT
		(SELECT COALESCE(SUM(waiting), 0) FROM lanes),
		(SELECT COUNT(*) FROM items WHERE buried > 0),
		(SELECT accepted FROM items WHERE buried = 0 ORDER BY seq LIMIT 1)`).Scan(&b.Waiting, &b.Buried, &oldest)
	if oldest.Valid {
		b.Oldest = time.UnixMilli(oldest.Int64).UTC()
	}
	return b, err
}

// Waiting implements relay.Store.
func (s *Store) Waiting(ctx context.Context, lane string) (int, error) {
	var n int
	err := s.read.QueryRowContext(ctx, `SELECT COALESCE(SUM(waiting), 0) FROM lanes WHERE lane = $1`, lane).Scan(&n)
	return n, err
}

// Known implements relay.Store.
func (s *Store) Known(ctx context.Context, itemIDs []string) (map[string]bool, error) {
	known := map[string]bool{}
	for len(itemIDs) > 0 {
		n := min(len(itemIDs), 200)
		marks := make([]string, n)
		args := make([]any, n)
		for i, id := range itemIDs[:n] {
			marks[i], args[i] = fmt.Sprintf("$%d", i+1), id
		}
		in := "(" + strings.Join(marks, ",") + ")"
		if err := s.collect(ctx, known, `SELECT id FROM items WHERE id IN `+in+` UNION SELECT id FROM done WHERE id IN `+in, args); err != nil {
			return nil, err
		}
		itemIDs = itemIDs[n:]
	}
	return known, nil
}

func (s *Store) collect(ctx context.Context, into map[string]bool, query string, args []any) error {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		into[id] = true
	}
	return rows.Err()
}

// MarkKnown implements relay.Store.
func (s *Store) MarkKnown(ctx context.Context, itemID string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO done (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, itemID, time.Now().UnixMilli())
	return err
}

// keepDone is how long the ID of a delivered item is remembered beside its
// links: longer than anything is ever read again from either side.
const keepDone = 30 * 24 * time.Hour

// Prune forgets what is too old to come again.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM done WHERE at < $1`, now.Add(-keepDone).UnixMilli()); err != nil {
		return err
	}
	// Captions are edited for as long as anybody likes; only what waits for
	// its message can be forgotten.
	_, err := s.db.ExecContext(ctx, `DELETE FROM media WHERE at < $1 AND source LIKE 'mx:%'`, now.Add(-keepDone).UnixMilli())
	return err
}
