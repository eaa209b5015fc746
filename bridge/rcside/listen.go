package rcside

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

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

// Listen reads the rooms of all portals until ctx ends. One process at a time does it;
// the others call KeepUp, so that they know the portals and can go on in its place.
func (s *Side) Listen(ctx context.Context) error {
	s.leads.Store(true)
	defer s.leads.Store(false)
	portals, err := s.Store.Portals(ctx)
	if err != nil {
		return fmt.Errorf("read the portals: %w", err)
	}
	for _, p := range portals {
		if err := s.recall(ctx, p); err != nil {
			return err
		}
	}
	s.readAgain()
	var running sync.WaitGroup
	defer running.Wait()
	s.begin(func(f func(context.Context)) func() {
		one, stop := context.WithCancel(ctx)
		running.Go(func() {
			defer stop()
			f(one)
		})
		return stop
	})
	defer s.begin(nil)
	for _, r := range s.byUse() {
		s.serve(r)
	}
	looked := make(chan struct{})
	running.Go(func() { s.watchDirects(ctx, sync.OnceFunc(func() { close(looked) })) })
	running.Go(func() {
		select {
		case <-looked: // what is said after a room was read shows in its number of messages
			s.readWithoutSession(ctx)
		case <-ctx.Done():
		}
	})
	running.Go(func() { s.followPeople(ctx) })
	running.Go(func() { s.watchPeople(ctx) })
	<-ctx.Done()
	return nil
}

// readAgain makes all rooms be caught up with, from their cursors: another process may
// have read them meanwhile, and stopped.
func (s *Side) readAgain() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.readers))
	s.mu.Unlock()
	for _, r := range all {
		r.againAll()
	}
}

// KeepUp takes over the portals as they are in the store now: other processes begin and
// end some too.
func (s *Side) KeepUp(ctx context.Context) error {
	portals, err := s.Store.Portals(ctx)
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
	s.mu.Lock()
	var gone []model.Portal
	for room, p := range s.watching {
		if !now[room] {
			gone = append(gone, p)
		}
	}
	s.mu.Unlock()
	for _, p := range gone {
		// It may have begun since the portals were read.
		if _, ok, err := s.Store.PortalByRC(ctx, p.RCRoom); err == nil && !ok {
			s.Unwatch(p)
		}
	}
	return nil
}

// begin makes accounts be read from now on by what spawn starts; nil ends it.
func (s *Side) begin(spawn func(func(context.Context)) (stop func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn = spawn
}

// recall watches a portal of an earlier run: when something last happened there
// says how soon it is read.
func (s *Side) recall(ctx context.Context, p model.Portal) error {
	value, err := s.Store.Cursor(ctx, model.RCCursor(p.RCRoom))
	if err != nil {
		return fmt.Errorf("read a cursor: %w", err)
	}
	at, ok := parseMillis(value)
	if !ok {
		at = p.Created
	}
	s.mu.Lock()
	if _, newer := s.watching[p.RCRoom]; !newer {
		s.watching[p.RCRoom] = p
	}
	s.mu.Unlock()
	s.reader(p.RCReader).add(p.RCRoom, at)
	return nil
}

// byUse returns the readers, the bridge account's first and then those whose
// rooms have something newer.
func (s *Side) byUse() []*reader {
	s.reader("") // connected even before there is a portal
	s.mu.Lock()
	all := make([]*reader, 0, len(s.readers))
	newest := make(map[*reader]time.Time, len(s.readers))
	for _, r := range s.readers {
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
func (s *Side) Watch(p model.Portal) {
	s.mu.Lock()
	old, known := s.watching[p.RCRoom]
	s.watching[p.RCRoom] = p
	s.mu.Unlock()
	if known && old.RCReader != p.RCReader {
		s.reader(old.RCReader).remove(p.RCRoom)
	}
	r := s.reader(p.RCReader)
	r.add(p.RCRoom, time.Now())
	s.serve(r)
}

// Unwatch implements relay.RocketChat.
func (s *Side) Unwatch(p model.Portal) {
	s.mu.Lock()
	delete(s.watching, p.RCRoom)
	s.mu.Unlock()
	s.reader(p.RCReader).remove(p.RCRoom)
}

// portal returns the portal of a room that is watched.
func (s *Side) portal(room ids.RCRoom) (model.Portal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.watching[room]
	return p, ok
}

// stir takes that something seems to have happened in the room of a portal.
func (s *Side) stir(p model.Portal) {
	r := s.reader(p.RCReader)
	r.hint(p.RCRoom)
	s.serve(r)
}

// talked handles that a person on Matrix writes into a room: those who answer are
// to be heard at once.
func (s *Side) talked(room ids.RCRoom) {
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

// Connected reports whether the bridge account's session is live, or that another
// process has one.
func (s *Side) Connected() bool {
	if !s.leads.Load() && s.Led != nil {
		return s.Led()
	}
	s.mu.Lock()
	r := s.readers[""]
	s.mu.Unlock()
	return r != nil && r.isLive()
}

// reader returns the reader of an account, made as needed.
func (s *Side) reader(account ids.MXUser) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.readers[account]
	if r == nil {
		r = newReader(s, account)
		s.readers[account] = r
	}
	return r
}

// serve lets an account be read: through a session where there is room for one,
// over REST otherwise.
func (s *Side) serve(r *reader) {
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
func (s *Side) roomForSession() bool {
	if s.sessions < maxSessions {
		return true
	}
	var oldest *reader
	for _, r := range s.readers {
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
func (s *Side) ended(r *reader) {
	s.mu.Lock()
	r.stop = nil
	if r.account != "" && !r.leaving {
		s.sessions--
	}
	s.mu.Unlock()
	s.later(r)
}

// later makes an account be read over REST soon.
func (s *Side) later(r *reader) {
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
func (s *Side) next() *reader {
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
