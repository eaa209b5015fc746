package rcside

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Rooms that the bridge account sees are read through its session. Direct rooms are
// read through a puppet that is in them. A session for each would mean thousands of
// websockets: so only active puppets have one, up to maxSessions, and the others
// are read over REST when the list of direct rooms shows new messages (directs.go).
const (
	maxSessions = 128
	// quietFor is how long a session, or a room that is subscribed to, must have
	// been idle before another one may take its place.
	quietFor = time.Minute
	// restAtOnce is how many accounts without a session are read concurrently.
	restAtOnce = 8
)

// readers has a reader for each account, and decides which of them have a session.
type readers struct {
	*watched
	parts *parts

	mu        sync.Mutex
	byAccount map[ids.MXUser]*reader                    // by puppet; "" is the bridge account
	spawn     func(func(context.Context)) (stop func()) // starts goroutines while Listen runs; otherwise nil
	sessions  int                                       // of puppets
	queued    []*reader                                 // waiting to be read over REST
	more      chan struct{}                             // one was queued
}

// readAgain schedules all rooms to be caught up from their cursors: another process
// may have read them meanwhile, and stopped.
func (s *readers) readAgain() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.byAccount))
	s.mu.Unlock()
	for _, r := range all {
		r.againAll()
	}
}

// KeepUp syncs the portals with the store: other processes create and end some too.
func (s *readers) KeepUp(ctx context.Context) error {
	portals, err := s.parts.store.Portals(ctx)
	if err != nil {
		return fmt.Errorf("read the portals: %w", err)
	}
	now := make(map[ids.RCRoom]bool, len(portals))
	for _, p := range portals {
		now[p.RCRoom] = true
		if old, ok := s.portal(p.RCRoom); !ok || old.RCReader != p.RCReader || old.MXRoom != p.MXRoom {
			s.Watch(p)
		}
	}
	for _, p := range s.except(now) {
		// It may have been created since the portals were read.
		if _, ok, err := s.parts.store.PortalByRC(ctx, p.RCRoom); err == nil && !ok {
			s.Unwatch(p)
		}
	}
	return nil
}

// begin makes spawn start the sessions from now on; with nil none are started.
func (s *readers) begin(spawn func(func(context.Context)) (stop func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn = spawn
}

// recall watches a portal of an earlier run. The time of its last activity decides
// how soon it is read.
func (s *readers) recall(p model.Portal, cursor string) {
	at, ok := parseMillis(cursor)
	if !ok {
		at = p.Created
	}
	s.remember(p)
	s.reader(p.RCReader).add(p.RCRoom, at)
}

// byUse returns the readers: the bridge account's first, then the others by the
// newest activity in their rooms.
func (s *readers) byUse() []*reader {
	s.reader("") // connected even before there is a portal
	s.mu.Lock()
	all := make([]*reader, 0, len(s.byAccount))
	newest := make(map[*reader]time.Time, len(s.byAccount))
	for _, r := range s.byAccount {
		all = append(all, r)
		newest[r] = r.newest()
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *reader) int {
		if a.account == "" || b.account == "" {
			return cmp.Compare(a.account, b.account)
		}
		return newest[b].Compare(newest[a])
	})
	return all
}

// Watch implements relay.RocketChat. It does not block.
func (s *readers) Watch(p model.Portal) {
	old, known := s.replace(p)
	if known && old.RCReader != p.RCReader {
		s.reader(old.RCReader).remove(p.RCRoom)
	}
	r := s.reader(p.RCReader)
	r.add(p.RCRoom, time.Now())
	s.serve(r)
}

// Unwatch implements relay.RocketChat.
func (s *readers) Unwatch(p model.Portal) {
	s.forget(p)
	s.reader(p.RCReader).remove(p.RCRoom)
}

// stir handles a sign of activity in the room of a portal.
func (s *readers) stir(p model.Portal) {
	r := s.reader(p.RCReader)
	r.hint(p.RCRoom)
	s.serve(r)
}

// talked records that a person on Matrix writes into a room: replies must arrive
// without delay.
func (s *readers) talked(room ids.RCRoom) {
	p, ok := s.portal(room)
	if !ok {
		return
	}
	r := s.reader(p.RCReader)
	r.touch(room)
	if p.RCReader != "" {
		s.serve(r)
	}
}

// reader returns the reader of an account, creating it if needed.
func (s *readers) reader(account ids.MXUser) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.byAccount[account]
	if r == nil {
		r = newReader(s.parts, account)
		s.byAccount[account] = r
	}
	return r
}

// serve arranges for an account to be read: through a session if there is room for
// one, over REST otherwise.
func (s *readers) serve(r *reader) {
	s.mu.Lock()
	r.used = time.Now()
	session := r.stop != nil
	if s.spawn != nil && !session && (r.account == "" || s.roomForSession()) {
		session = true
		r.leaving = false
		if r.account != "" {
			s.sessions++
		}
		r.stop = s.spawn(func(ctx context.Context) {
			r.run(ctx)
			s.ended(r)
		})
	}
	s.mu.Unlock()
	if !session {
		s.later(r)
	}
}

// roomForSession ends the least recently used session when there are maxSessions.
// The caller holds s.mu.
func (s *readers) roomForSession() bool {
	if s.sessions < maxSessions {
		return true
	}
	var oldest *reader
	for _, r := range s.byAccount {
		if r.account != "" && r.stop != nil && !r.leaving && (oldest == nil || r.used.Before(oldest.used)) {
			oldest = r
		}
	}
	if oldest == nil || time.Since(oldest.used) < quietFor {
		return false
	}
	oldest.leaving = true
	oldest.stop()
	s.sessions--
	return true
}

// ended queues an account whose session has ended to be read over REST, from where
// the session stopped.
func (s *readers) ended(r *reader) {
	s.mu.Lock()
	r.stop = nil
	if r.account != "" && !r.leaving {
		s.sessions--
	}
	s.mu.Unlock()
	s.later(r)
}

// later queues an account to be read over REST.
func (s *readers) later(r *reader) {
	s.mu.Lock()
	if !r.queued && r.account != "" {
		r.queued = true
		s.queued = append(s.queued, r)
	}
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// next returns the next account to read over REST, nil when there is none.
func (s *readers) next() *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queued) > 0 {
		r := s.queued[0]
		s.queued = s.queued[1:]
		r.queued = false
		if r.stop == nil {
			return r
		}
	}
	return nil
}

// readWithoutSession reads the accounts that have no session until ctx ends.
func (s *readers) readWithoutSession(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(restAtOnce)
	for ctx.Err() == nil {
		r := s.next()
		if r == nil {
			select {
			case <-ctx.Done():
			case <-s.more:
			}
			continue
		}
		g.Go(func() error {
			r.pass(ctx)
			return nil
		})
	}
	_ = g.Wait()
}

// lookAtRest queues the accounts without a session in which a room is due.
func (s *readers) lookAtRest(now time.Time) {
	s.mu.Lock()
	var resting []*reader
	for _, r := range s.byAccount {
		if r.account != "" && r.stop == nil {
			resting = append(resting, r)
		}
	}
	s.mu.Unlock()
	most := coldAtOnce * int(lookEvery/time.Second)
	for _, r := range resting {
		most -= r.lookAround(now, coldEvery, most)
		if r.waiting() {
			s.later(r)
		}
	}
}

// Follow implements relay.RocketChat.
func (s *readers) Follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.byAccount {
		r.mu.Lock()
		r.stale = true
		r.mu.Unlock()
		signal(r.news)
	}
}

// compareAll schedules every room to be caught up, to find deletions that are not announced.
func (s *readers) compareAll() {
	s.mu.Lock()
	readers := make([]*reader, 0, len(s.byAccount))
	for _, r := range s.byAccount {
		readers = append(readers, r)
	}
	s.mu.Unlock()
	for _, r := range readers {
		r.againAll()
		s.mu.Lock()
		session := r.stop != nil
		s.mu.Unlock()
		if !session {
			s.later(r)
		}
	}
}

// connected reports whether the bridge account's session is live.
func (s *readers) connected() bool {
	s.mu.Lock()
	r := s.byAccount[""]
	s.mu.Unlock()
	return r != nil && r.isLive()
}
