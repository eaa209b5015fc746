package mxside

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/pause"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// The bridge reads through /sync what transactions lack (see Traits.PushesPart). The bot
// is not in direct rooms, so these are read through the /sync of a ghost: continuously
// while people talk there, and occasionally for every ghost.
const (
	followFor   = 10 * time.Minute // after a person last spoke
	maxFollowed = 64
	// sweepGap is the pause between two ghosts of a sweep, sweepPause the one between two sweeps.
	sweepGap   = 2 * time.Second
	sweepPause = 10 * time.Minute
	sweepPage  = 200
)

// followers reads what transactions lack through the /sync of the bot and of ghosts.
type followers struct {
	*client
	pushed    *pushed
	contact   *contact
	syncer    *syncer
	positions *positions
	replay    *replay
	inbox     *inbox
	ephemeral *ephemeral
	pause     time.Duration // between two ghosts of a sweep; 0 means the default

	mu       sync.Mutex
	followed map[ids.MXUser]time.Time // until when
	follows  chan ids.MXUser
}

func newFollowers(base *pushed, p parts) *followers {
	return &followers{
		client: p.client, pushed: base, contact: p.contact, syncer: p.syncer, positions: &positions{client: p.client, inbox: p.inbox, read: map[string]position{}, failing: map[string]int{}}, replay: p.replay, inbox: p.inbox, ephemeral: p.ephemeral, pause: p.sweepPause,
		followed: map[ids.MXUser]time.Time{}, follows: make(chan ids.MXUser, maxFollowed),
	}
}

func (f *followers) lost() { f.pushed.lost() }

func (f *followers) take(ctx context.Context, txn string, events []json.RawMessage) (status int, why string) {
	return f.pushed.take(ctx, txn, events)
}

func (f *followers) run(ctx context.Context, running *sync.WaitGroup) {
	f.pushed.run(ctx, running)
	running.Go(func() { f.readAll(ctx, running) })
}

func (f *followers) lead(ctx context.Context, running *sync.WaitGroup) {
	f.positions.forget(syncCursor) // another process may have read further
	running.Go(func() { f.sweep(ctx) })
}

// follow schedules a ghost to be read for a while.
func (f *followers) follow(ghost ids.MXUser) {
	if ghost == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, already := f.followed[ghost]
	if !already && len(f.followed) >= maxFollowed {
		return // the sweep will read it
	}
	f.followed[ghost] = time.Now().Add(followFor)
	if !already {
		f.follows <- ghost // its capacity is maxFollowed
	}
}

// readAll starts reading the scheduled ghosts until ctx ends.
func (f *followers) readAll(ctx context.Context, running *sync.WaitGroup) {
	for {
		select {
		case <-ctx.Done():
			return
		case ghost := <-f.follows:
			running.Go(func() { f.read(ctx, ghost) })
		}
	}
}

// isFollowed reports whether a ghost is being read.
func (f *followers) isFollowed(ghost ids.MXUser) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.followed[ghost]
	return ok
}

// stillFollowed reports whether to keep reading a ghost, and forgets it if not.
func (f *followers) stillFollowed(ghost ids.MXUser) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Now().Before(f.followed[ghost]) {
		return true
	}
	delete(f.followed, ghost)
	return false
}

// read reads a ghost's rooms until nothing has been said in them for a while.
func (f *followers) read(ctx context.Context, ghost ids.MXUser) {
	patience, failures := time.Duration(0), 0
	for f.stillFollowed(ghost) && ctx.Err() == nil {
		if err := f.readGhost(ctx, ghost, patience); err != nil {
			patience = 0
			failures++
			wait(ctx, pause.After(failures, time.Second, maxPause))
			continue
		}
		patience, failures = pollTimeout, 0
	}
	f.positions.forget(syncCursor + " " + string(ghost))
}

// keep makes one long poll as the bot and stores the result together with the position.
func (f *followers) keep(ctx context.Context) error {
	bot := f.bot()
	since, err := f.positions.since(ctx, syncCursor)
	if err != nil {
		return fmt.Errorf("read a cursor: %w", err)
	}
	wait := pollTimeout
	if !f.contact.Connected() {
		wait = 0 // find out at once whether it answers
	}
	ans, err := f.syncer.once(ctx, bot, since, wait)
	if err != nil {
		return f.positions.failed(ctx, bot, syncCursor, since, err)
	}
	again := f.positions.cameThrough(syncCursor)
	f.contact.answered()
	var items []queue.Item
	f.ephemeral.receive(ctx, ans.Presence.Events, "")
	for room, r := range ans.Rooms.Join {
		if since == "" && !again {
			continue // messages from before the bridge existed do not cross
		}
		r.Timeline.Limited = r.Timeline.Limited || again
		f.ephemeral.receive(ctx, r.Ephemeral.Events, room)
		brought, err := f.replay.timeline(ctx, room, bot, r.Timeline)
		if err != nil {
			return err
		}
		items = append(items, brought...)
	}
	if err := f.positions.moved(ctx, syncCursor, ans.NextBatch, items); err != nil {
		return err
	}
	f.syncer.rest(ctx, ans)
	return nil
}

// readGhost makes one poll as a ghost and stores the result: the events of the
// rooms that are read through it, and its invitations.
func (f *followers) readGhost(ctx context.Context, ghost ids.MXUser, wait time.Duration) error {
	key := syncCursor + " " + string(ghost)
	since, err := f.positions.since(ctx, key)
	if err != nil {
		return err
	}
	ans, err := f.syncer.once(ctx, ghost, since, wait)
	if err != nil {
		return f.positions.failed(ctx, ghost, key, since, err)
	}
	again := f.positions.cameThrough(key)
	var items []queue.Item
	for room, r := range ans.Rooms.Join {
		p, ok, err := f.inbox.store.PortalByMX(ctx, room)
		if err != nil {
			return err
		}
		if !ok || p.MXReader != ghost {
			continue
		}
		// Before its first poll the room was read through another user, or through nobody.
		r.Timeline.Limited = r.Timeline.Limited || again || since == ""
		f.ephemeral.receive(ctx, r.Ephemeral.Events, room)
		brought, err := f.replay.timeline(ctx, room, ghost, r.Timeline)
		if err != nil {
			return err
		}
		items = append(items, brought...)
	}
	for id, inv := range invitations(ans, ghost) {
		items = append(items, model.InvitationItem(id, inv))
	}
	if err := f.positions.moved(ctx, key, ans.NextBatch, items); err != nil || wait == 0 {
		return err
	}
	f.syncer.rest(ctx, ans)
	return nil
}

// sweep reads every ghost from time to time until ctx ends.
func (f *followers) sweep(ctx context.Context) {
	after := ids.MXUser("")
	for {
		pause := sweepGap
		ghosts, err := f.inbox.store.GhostsAfter(ctx, after, sweepPage)
		if err == nil && len(ghosts) == 0 {
			after, pause = "", sweepPause
		}
		if f.pause > 0 {
			pause = f.pause
		}
		for _, g := range ghosts {
			if err := f.readGhost(ctx, g.MXUser, 0); err != nil && ctx.Err() == nil {
				f.log.Debug("a ghost could not be read", "mx_user", g.MXUser, "err", err)
			}
			if !f.isFollowed(g.MXUser) {
				f.positions.forget(syncCursor + " " + string(g.MXUser))
			}
			after = g.MXUser
			if !wait(ctx, pause) {
				return
			}
		}
		if !wait(ctx, pause) {
			return
		}
	}
}
