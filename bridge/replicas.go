package bridge

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/store"
)

// Processes that share a PostgreSQL database all accept transactions from the homeserver,
// serve slash commands and deliver items; see docs/replicas.md. Only one of them, which
// holds the role reading, reads the networks and sweeps over rooms. A process with SQLite
// always has it.
const reading = "reading"

const (
	// keepUpEvery is how often to check, without a notification, whether other processes
	// began or ended portals. compareEvery is how often all portals are read regardless,
	// because an earlier release does not count its changes.
	keepUpEvery  = 10 * time.Second
	compareEvery = 10 * time.Minute
	// ledFor bounds how long checking whether any process reads may take.
	ledFor = 2 * time.Second
)

// team is the store in the form that mxside uses.
type team struct{ *store.Store }

// Led implements mxside.Team.
func (t team) Led(ctx context.Context) (bool, error) { return t.Store.Led(ctx, reading) }

// led reports whether any process reads the networks now.
func (s *service) led() bool {
	ctx, cancel := context.WithTimeout(context.Background(), ledFor)
	defer cancel()
	led, err := s.store.Led(ctx, reading)
	return led && err == nil
}

// lead does the work that one process does for all, until ctx ends.
func (s *service) lead(ctx context.Context) error {
	s.reads.Store(true)
	defer s.reads.Store(false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.rc.Listen(ctx) })
	g.Go(func() error { return s.mx.Lead(ctx) })
	g.Go(func() error { return s.relay.Sweep(ctx) })
	g.Go(func() error { return s.prune(ctx) })
	return g.Wait()
}

// keepUp follows the portals that other processes begin and end, until ctx ends.
func (s *service) keepUp(ctx context.Context) error {
	if !s.store.Shared() {
		return nil
	}
	told := make(chan struct{}, 1)
	s.store.Subscribe(store.TopicPortals, func([]string) {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	var seen string
	var due time.Time // when to read all of them
	for {
		version, err := s.store.PortalsVersion(ctx)
		if err == nil && (version != seen || !time.Now().Before(due)) {
			if err = s.rc.KeepUp(ctx); err == nil {
				seen, due = version, time.Now().Add(compareEvery)
			}
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Warn("the portals of other processes are not known", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-told:
			due = time.Time{}
		case <-time.After(keepUpEvery):
		}
	}
}
