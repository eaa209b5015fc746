package store

import (
	"context"
	"fmt"
	"time"
)

// dbPatience is the timeout of database requests outside deliveries.
const dbPatience = 3 * time.Second

// renewer renews the leases of this process, returns idle lanes and gives lanes away.
type renewer struct {
	*holder
	changed chan struct{} // has an element when another process started or stopped
}

// renewals renews leases and returns idle lanes until ctx ends.
func (k *renewer) renewals(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.parting:
			if err := k.giveAway(ctx); err != nil && ctx.Err() == nil {
				k.log.Warn("lanes could not be handed over", "err", err)
			}
			continue
		case <-tick.C:
		case <-k.changed:
		}
		err := k.renewAll(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			k.log.Warn("leases could not be renewed", "err", err)
		}
		failed = err != nil
		k.dropStale()
	}
}

func (k *renewer) renewAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dbPatience)
	defer cancel()
	if err := k.renew(ctx); err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	if err := k.beat(ctx); err != nil {
		return fmt.Errorf("say that this process runs: %w", err)
	}
	if err := k.release(ctx, k.idle()); err != nil {
		return fmt.Errorf("give idle lanes back: %w", err)
	}
	if err := k.share(ctx); err != nil {
		return fmt.Errorf("look for lanes to give away: %w", err)
	}
	return k.giveAway(ctx)
}

// renewLanes locks rows in the same order as the writers that add items.
const renewLanes = `UPDATE lanes SET held = ` + dbNow + ` + $1::bigint FROM (
	SELECT lane FROM lanes WHERE lane = ANY($2::text[]) AND owner = $3 ORDER BY lane COLLATE "C" FOR NO KEY UPDATE) AS mine
	WHERE lanes.lane = mine.lane RETURNING lanes.lane, lanes.fence`

// renew renews the leases of this process, and drops those it no longer owns.
func (k *renewer) renew(ctx context.Context) error {
	k.s.mu.Lock()
	mine := make([]*heldLane, 0, len(k.held))
	for _, l := range k.held {
		mine = append(mine, l)
	}
	k.s.mu.Unlock()
	if len(mine) == 0 {
		return nil
	}
	asked := time.Now()
	rows, err := k.s.query(ctx, renewLanes, leaseFor.Milliseconds(), names(mine), k.owner)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	still := map[leaseID]bool{}
	for rows.Next() {
		var id leaseID
		if err := rows.Scan(&id.lane, &id.fence); err != nil {
			return err
		}
		still[id] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for _, l := range mine {
		switch {
		case still[leaseID{l.lease.Lane, l.lease.Fence}]:
			l.lease.Extend(asked.Add(trustFor))
		case k.held[l.lease.Lane] == l:
			k.log.Warn("another process has taken over a lane", "lane", l.lease.Lane, "fence", l.lease.Fence)
			k.drop(l)
		}
	}
	return nil
}

// dropStale drops the leases that could not be renewed in time.
func (k *renewer) dropStale() {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for _, l := range k.held {
		if l.lease.Err() != nil {
			k.drop(l)
		}
	}
}

// beat records that this process is alive, and counts the processes that are.
func (k *renewer) beat(ctx context.Context) error {
	if _, err := k.s.db.ExecContext(ctx, `INSERT INTO replicas (id, until) VALUES ($1, `+dbNow+` + $2::bigint)
		ON CONFLICT (id) DO UPDATE SET until = excluded.until`, k.owner, leaseFor.Milliseconds()); err != nil {
		return err
	}
	if _, err := k.s.db.ExecContext(ctx, `DELETE FROM replicas WHERE until < `+dbNow+` - 3600000`); err != nil {
		return err
	}
	var replicas, place int
	var now, changes int64
	asked := time.Now()
	err := k.s.queryRow(ctx, `SELECT COUNT(*), COUNT(*) FILTER (WHERE id < $1), `+dbNow+`, `+changeCount+` FROM replicas WHERE until > `+dbNow, k.owner).
		Scan(&replicas, &place, &now, &changes)
	if err != nil {
		return err
	}
	k.s.changes.note(changes, asked)
	k.s.ahead.Store(int64(time.Until(time.UnixMilli(now))))
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	k.replicas, k.place = replicas, place
	return nil
}

// idle removes and returns the lanes that have had no items for a while.
func (k *renewer) idle() []*heldLane {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	var out []*heldLane
	storing := k.s.storing()
	for name, l := range k.held {
		if !l.busy && !storing[name] && !l.more && len(l.items) == 0 && time.Since(l.used) > idleFor {
			delete(k.held, name)
			out = append(out, l)
		}
	}
	return out
}

// release gives lanes back. A lane to which items are being added stays with this process.
func (k *renewer) release(ctx context.Context, lanes []*heldLane) error {
	if len(lanes) == 0 {
		return nil
	}
	free, err := k.free(ctx, names(lanes), `FOR UPDATE SKIP LOCKED`)
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for _, l := range lanes {
		class := l.class
		switch {
		case err != nil: // taken again when the lease has ended
			l.lease.Lose()
		case free[l.lease.Lane]:
			k.dirty[class] = true // it may just have got an item
		case k.held[l.lease.Lane] == nil:
			l.more = true
			k.held[l.lease.Lane] = l
		}
	}
	return err
}

// free removes this process from the rows of lanes, and returns the lanes it could lock.
// A separate statement after the lock checks whether a lane has items, so that it sees
// everything added before.
func (k *renewer) free(ctx context.Context, lanes []string, lock string) (map[string]bool, error) {
	tx, err := k.s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	//nolint:gosec // lock is a constant of the callers
	rows, err := tx.QueryContext(ctx, `SELECT lane FROM lanes WHERE lane = ANY($1::text[]) AND owner = $2 ORDER BY lane COLLATE "C" `+lock, lanes, k.owner)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	free := map[string]bool{}
	var locked []string
	for rows.Next() {
		var lane string
		if err := rows.Scan(&lane); err != nil {
			return nil, err
		}
		free[lane] = true
		locked = append(locked, lane)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE lanes SET owner = '', held = 0, due = `+dbNow+`,
		waiting = CASE WHEN EXISTS (SELECT 1 FROM items WHERE items.lane = lanes.lane AND buried = 0) THEN 1 ELSE 0 END
		WHERE lane = ANY($1::text[])`, locked); err != nil {
		return nil, err
	}
	return free, tx.Commit()
}

// stop gives back all lanes, so that other processes need not wait for the leases to end.
func (k *shared) stop() {
	if k.end == nil {
		return
	}
	k.end()
	k.running.Wait()
	k.locks.close()
	ctx, cancel := context.WithTimeout(context.Background(), dbPatience)
	defer cancel()
	k.s.mu.Lock()
	var lanes []*heldLane
	for _, l := range k.held {
		if !l.busy {
			lanes = append(lanes, l)
		}
		k.drop(l)
	}
	k.s.mu.Unlock()
	free, err := k.free(ctx, names(lanes), `FOR UPDATE`)
	if err == nil {
		_, err = k.s.db.ExecContext(ctx, `DELETE FROM replicas WHERE id = $1`, k.owner)
	}
	if err != nil {
		k.log.Warn("leases could not be released; other processes take over when they expire", "err", err)
		return
	}
	for lane := range free {
		k.news.say(topicLanes, lane)
	}
	k.news.say(topicBeat, k.owner)
	k.news.flush(ctx)
}
