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

// Rooms that the bridge account sees are read through its session. Direct rooms
// are read through a puppet that is in them, and a
// session for each would be thousands of websockets: so those who talk have one,
// up to maxSessions, and the others are read over REST when the list of direct
// rooms says that something was said (directs.go).
const (
	maxSessions = 128
	// quietFor is how long nothing must have happened in a session, or in a room
	// that is subscribed to, before another one may take its place.
	quietFor = time.Minute
	// restAtOnce is how many accounts without a session are read at one time.
	restAtOnce = 8
)

// readers has a reader for each account, and decides who has a session.
type readers struct {
	*watched
	parts *parts

	mu        sync.Mutex
	byAccount map[ids.MXUser]*reader                    // by puppet; "" is the bridge account
	spawn     func(func(context.Context)) (stop func()) // starts what runs while Listen does; nil when it does not
	sessions  int                                       // of puppets
	queued    []*reader                                 // those to be read over REST
	more      chan struct{}                             // there is one
}

// readAgain makes all rooms be caught up with, from their cursors: another process may
// have read them meanwhile, and stopped.
func (s *readers) readAgain() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.byAccount))
	s.mu.Unlock()
	for _, r := range all {
		r.againAll()
	}
}

// KeepUp takes over the portals as they are in the store now: other processes begin and
// end some too.
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
		// It may have begun since the portals were read.
		if _, ok, err := s.parts.store.PortalByRC(ctx, p.RCRoom); err == nil && !ok {
			s.Unwatch(p)
		}
	}
	return nil
}

// begin makes accounts be read from now on by what spawn starts; nil ends it.
func (s *readers) begin(spawn func(func(context.Context)) (stop func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn = spawn
}

// recall watches a portal of an earlier run: when something last happened there
// says how soon it is read.
func (s *readers) recall(p model.Portal, cursor string) {
	at, ok := parseMillis(cursor)
	if !ok {
		at = p.Created
	}
	s.remember(p)
	s.reader(p.RCReader).add(p.RCRoom, at)
}

// byUse returns the readers, the bridge account's first and then those whose
// rooms have something newer.
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

// Watch implements relay.RocketChat. It does not wait.
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

// stir takes that something seems to have happened in the room of a portal.
func (s *readers) stir(p model.Portal) {
	r := s.reader(p.RCReader)
	r.hint(p.RCRoom)
	s.serve(r)
}

// talked handles that a person on Matrix writes into a room: those who answer are
// to be heard at once.
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

// reader returns the reader of an account, made as needed.
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

// serve lets an account be read: through a session where there is room for one,
// over REST otherwise.
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

// roomForSession ends the session that was used least recently when there are as
// many as there may be. It is called under s.mu.
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

// ended lets an account whose session has ended be read over REST, from where the
// session stopped.
func (s *readers) ended(r *reader) {
	s.mu.Lock()
	r.stop = nil
	if r.account != "" && !r.leaving {
		s.sessions--
	}
	s.mu.Unlock()
	s.later(r)
}

// later makes an account be read over REST soon.
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

// next returns an account that is to be read over REST, nil when there is none.
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

// lookAtRest makes the accounts that have no session be read again in which a
// room's time has come.
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

// compareAll makes every room be caught up with: for deletions that nothing tells of.
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
