package store

import (
	"context"
	"errors"
	"time"

	"appliance/bridge/queue"
)

// retryRole is the pause before a role whose work has failed is taken again.
const retryRole = 2 * time.Second

// team has what the processes that share the database do together.
type team struct {
	*writer
	*subscribers
}

// roles handles roles: work that one process does for all.
type roles struct{ *process }

// Lead runs a function in only one process at a time, the one that holds a role, such as
// reading a network. The context of run ends when another process may have taken the
// role. A process that dies or is suspended is replaced when its role expires, after
// leaseFor at most. With SQLite this process is the only one. Lead returns when ctx ends
// or, with SQLite only, with an error of run; with PostgreSQL it runs a failed run again.
func (s *team) Lead(ctx context.Context, role string, run func(context.Context) error) error {
	k, ok := s.keeper.(*shared)
	if !ok {
		return run(ctx)
	}
	free := make(chan struct{}, 1)
	s.Subscribe(topicRoles, func([]string) {
		select {
		case free <- struct{}{}:
		default:
		}
	})
	for ctx.Err() == nil {
		asked := time.Now()
		mine, err := k.takeRole(ctx, role)
		if err != nil && ctx.Err() == nil {
			k.log.Warn("a role could not be taken", "role", role, "err", err)
		}
		pause := lookEvery
		if mine {
			k.log.Info("this process acquired the role", "role", role, "process", k.owner)
			err := k.lead(ctx, role, asked, run)
			if ctx.Err() == nil {
				k.log.Warn("this process lost the role", "role", role, "process", k.owner, "err", err)
				pause = retryRole
			}
		}
		select {
		case <-ctx.Done():
		case <-free:
		case <-time.After(pause):
		}
	}
	return nil
}

// takeRole takes a free role, or renews it.
func (k *roles) takeRole(ctx context.Context, role string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, dbPatience)
	defer cancel()
	res, err := k.s.exec(ctx, `INSERT INTO roles (role, owner, until) VALUES ($1, $2, `+dbNow+` + $3::bigint)
		ON CONFLICT (role) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE roles.owner = excluded.owner OR roles.until < `+dbNow,
		role, k.owner, leaseFor.Milliseconds())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// lead calls run while the role can be renewed, and gives the role back.
func (k *roles) lead(ctx context.Context, role string, asked time.Time, run func(context.Context) error) error {
	led, stop := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.keepRole(led, role, asked, func() { stop(queue.ErrLost) })
	}()
	err := run(led)
	if cause := context.Cause(led); cause != nil {
		err = cause
	}
	stop(nil)
	<-done
	if errors.Is(err, queue.ErrLost) {
		return err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), dbPatience)
	defer cancel()
	if _, derr := k.s.db.ExecContext(end, `DELETE FROM roles WHERE role = $1 AND owner = $2`, role, k.owner); derr == nil {
		k.news.say(topicRoles, role)
	}
	return err
}

// keepRole renews a role until ctx ends, or calls lost.
func (k *roles) keepRole(ctx context.Context, role string, asked time.Time, lost func()) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	until := asked.Add(trustFor)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		mine, err := k.takeRole(ctx, role)
		switch {
		case err == nil && mine && time.Since(now) < trustFor:
			until = now.Add(trustFor)
		case err == nil && !mine, time.Now().After(until):
			lost()
			return
		}
	}
}

// Led reports whether any process holds a role now.
func (s *team) Led(ctx context.Context, role string) (bool, error) {
	if !s.Shared() {
		return true, nil
	}
	var n int
	err := s.queryRow(ctx, `SELECT COUNT(*) FROM roles WHERE role = $1 AND until > `+dbNow, role).Scan(&n)
	return n > 0, err
}

// StartTimer starts a timer by the clock of the database, visible to all processes. A
// timer that already runs for longer is left as it is.
func (s *team) StartTimer(ctx context.Context, name string, d time.Duration) error {
	if !s.Shared() {
		return nil
	}
	_, err := s.exec(ctx, `INSERT INTO roles (role, owner, until) VALUES ($1, '', `+dbNow+` + $2::bigint)
		ON CONFLICT (role) DO UPDATE SET until = GREATEST(roles.until, excluded.until)`, "timer "+name, d.Milliseconds())
	return err
}

// TimerRuns reports whether a timer runs.
func (s *team) TimerRuns(ctx context.Context, name string) (bool, error) {
	if !s.Shared() {
		return false, nil
	}
	return s.Led(ctx, "timer "+name)
}

// Process returns the name of this process among those that share the database.
func (s *team) Process() string {
	if k, ok := s.keeper.(*shared); ok {
		return k.owner
	}
	return ""
}

// Replicas returns how many processes share the database, as far as known.
func (s *team) Replicas() int {
	k, ok := s.keeper.(*shared)
	if !ok {
		return 1
	}
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	return max(1, k.replicas)
}
