package rcside

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/ids"
	"appliance/bridge/pause"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

const (
	// minPause and maxPause bound the wait between two attempts to connect.
	minPause = 300 * time.Millisecond
	maxPause = 15 * time.Second
	// refusedPause is the wait when there is no such account, or when the server
	// accepts neither its token nor a new one.
	refusedPause = time.Minute
	// catchUpAtOnce is how many rooms of a session are caught up concurrently.
	catchUpAtOnce = 8
	// coldEvery is how often a room that is not subscribed to is read without a
	// reason, to find unannounced changes such as a deletion. coldAtOnce is how
	// many of them per second.
	coldEvery  = 5 * time.Minute
	coldAtOnce = 2
	// maxRoomPause bounds the wait after a failure to read a room.
	maxRoomPause = 5 * time.Minute
)

// run keeps a session alive until ctx ends.
func (r *reader) run(ctx context.Context) {
	r.turn.Lock()
	defer r.turn.Unlock()
	log := r.parts.log.With("account", string(r.account))
	for failures := 0; ; {
		start := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if failures++; time.Since(start) > time.Minute {
			failures = 1
		}
		after := pause.After(failures, minPause, maxPause)
		if errors.Is(err, ddp.ErrUnauthorized) || errors.Is(err, errRefusedAgain) || lost(err) {
			after = refusedPause
		}
		after = pause.Spread(after)
		if r.account == "" && r.parts.reconnects != nil {
			r.parts.reconnects()
		}
		log.Warn("the connection to Rocket.Chat ended", "err", err, "pause", after)
		select {
		case <-ctx.Done():
			return
		case <-time.After(after):
		}
	}
}

// session connects, catches up and stays until the connection ends.
func (r *reader) session(ctx context.Context) error {
	r.reset()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	conn, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer r.reset()
	defer conn.Close()
	defer stop() // event may be waiting, and Close waits for it
	r.setLive()
	if r.account == "" {
		r.parts.noteVersion(ctx)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-conn.Done():
			return conn.Err()
		}
	})
	g.Go(func() error { return r.store(ctx) })
	g.Go(func() error { return r.catchUp(ctx, conn) })
	g.Go(func() error { return r.follow(ctx, conn) })
	return g.Wait()
}

// dial opens a session. If the token is refused, the account gets a new one.
func (r *reader) dial(ctx context.Context) (*ddp.Conn, error) {
	client, err := r.parts.clientFor(ctx, r.account)
	if err != nil {
		return nil, err
	}
	handle := func(e ddp.Event) { r.event(ctx, e) }
	conn, err := ddp.Dial(ctx, client.Base(), client.Token(), handle)
	if r.account == "" || !errors.Is(err, ddp.ErrUnauthorized) {
		return conn, err
	}
	p, ok, err := r.parts.store.PuppetByMX(ctx, r.account)
	if err != nil {
		return nil, err
	}
	if !ok { // the account ended with its token
		return nil, fmt.Errorf("%w: the account of %s", model.ErrNotFound, r.account)
	}
	if p, err = r.parts.renew(ctx, p, client.Token()); err != nil {
		return nil, err
	}
	return ddp.Dial(ctx, client.Base(), p.Token, handle)
}

// store stores what the session receives until ctx ends.
func (r *reader) store(ctx context.Context) error {
	for {
		if err := r.flush(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.more:
		}
	}
}

// catchUp catches up the scheduled rooms, several at a time, until ctx ends.
func (r *reader) catchUp(ctx context.Context, conn *ddp.Conn) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(catchUpAtOnce)
	for ctx.Err() == nil {
		id, ok := r.take()
		if !ok {
			select {
			case <-ctx.Done():
			case <-r.work:
			}
			continue
		}
		g.Go(func() error {
			if err := r.listen(ctx, conn, id); err != nil {
				return err
			}
			return r.read(ctx, id)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// read stores what has happened in a room since its cursor. A room that cannot be
// read is retried later and does not hold up the others; a failed connection is an
// error.
func (r *reader) read(ctx context.Context, id ids.RCRoom) error {
	err := r.parts.asReader(ctx, r.account, func(c *rocketchat.Client) error { return r.parts.missed(ctx, c, id) })
	r.mu.Lock()
	defer r.mu.Unlock()
	rm, ok := r.rooms[id]
	if ok {
		rm.busy = false
	}
	if !ok || ctx.Err() != nil {
		return err
	}
	rm.read = time.Now()
	// A room that is gone, or hidden from the account, is read again later: it may come back.
	if err != nil {
		if rm.failed == 0 {
			r.parts.log.Warn("a bridged room could not be read", "rc_room", id, "account", string(r.account), "err", err)
		}
		rm.failed++
	} else {
		rm.failed = 0
	}
	switch {
	case err != nil && !lost(err):
		rm.due = rm.read.Add(min(maxRoomPause, time.Second<<min(rm.failed, 10)))
		if rocketchat.Status(err) == 0 {
			return fmt.Errorf("catch up with %s: %w", id, err)
		}
	case rm.again:
		rm.again = false
		r.enqueue(id)
	default:
		rm.done, rm.due = true, time.Time{}
		r.stale = true
		signal(r.more)
		signal(r.news)
	}
	return nil
}

// lost reports whether a room is gone, or hidden from the account.
func lost(err error) bool {
	return errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrNoAccount)
}

// passFor bounds how long one account is read over REST at a time.
const passFor = 2 * time.Minute

// pass reads the scheduled rooms without a session.
func (r *reader) pass(ctx context.Context) {
	if !r.turn.TryLock() {
		return // a session is reading
	}
	defer r.turn.Unlock()
	ctx, stop := context.WithTimeout(ctx, passFor)
	defer stop()
	for ctx.Err() == nil {
		id, ok := r.take()
		if !ok {
			return
		}
		if r.read(ctx, id) != nil {
			return // the server does not answer
		}
	}
}
