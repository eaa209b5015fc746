package mxside

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"maunium.net/go/mautrix"
	mxevent "maunium.net/go/mautrix/event"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// probe is the type of the events with which the bridge finds out how far the
// homeserver has got. No client displays them.
var probe = mxevent.Type{Type: "org.appliance.checkpoint", Class: mxevent.MessageEventType}

const (
	// probeFor is how long a probe may take to be accepted, and to be shown, before the
	// search is postponed.
	probeFor = 15 * time.Second
	// probeGap is the time between two searches, which doubles up to longProbeGap.
	probeGap     = 100 * time.Millisecond
	longProbeGap = 2 * time.Second
	// searchesAtOnce bounds how many rooms are searched at the same time. After a failure of
	// the homeserver they are all due at once, and reading rooms is its most expensive task.
	// While it does not show what it has accepted, which it does in one order for all rooms,
	// only one is searched, and the others are postponed.
	searchesAtOnce = 4
)

// probes sends probe events.
type probes struct {
	*client
	history *history
	store   Store
	turns   *semaphore.Weighted // of weight searchesAtOnce
	behind  atomic.Bool         // a search ran out of time, and none has seen its probe since

	mu      sync.Mutex
	pending map[ids.MXRoom]pendingProbe // of searches that were postponed
}

// A pendingProbe is a probe that the homeserver has not shown yet. The next search for
// the same message continues with it: more probes would only slow the homeserver down.
// Nothing has been sent since, unless the lane belonged to another process meanwhile.
type pendingProbe struct {
	source string // what is searched for
	fence  int64  // of the lane
	mark   string
	event  string // "" when it is not known to be accepted
}

func newProbes(c *client, h *history, store Store) *probes {
	return &probes{client: c, history: h, store: store, turns: semaphore.NewWeighted(searchesAtOnce), pending: map[ids.MXRoom]pendingProbe{}}
}

// FindSent implements relay.Matrix.
//
// A homeserver may still be storing an event after its client has gone away, and
// shows it some time after storing it. So an event that is not found at once is
// searched for again when a probe appears that was sent after it: both go through
// the same queue of the room. A ghost's messages are sent one after the other, so
// the search ends at our newest event that is linked.
func (p *probes) FindSent(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source string) (ids.MXEvent, bool, error) {
	return p.find(ctx, room, reader, source, func(a arrival) bool {
		written, ok := a.event.(event.MXWritten)
		return ok && written.Event.Content.Source == source
	})
}

// FindReaction implements relay.Matrix. It searches as FindSent does: Dendrite accepts the
// same reaction of a user twice, and people then see two.
func (p *probes) FindReaction(ctx context.Context, room ids.MXRoom, reader, as ids.MXUser, target ids.MXEvent, key string) (ids.MXEvent, bool, error) {
	source := strings.Join([]string{"reaction", string(as), string(target), key}, " ")
	return p.find(ctx, room, reader, source, func(a arrival) bool {
		reacted, ok := a.event.(event.MXReacted)
		return ok && a.head.Sender == as && reacted.Target == target && reacted.Key == key
	})
}

// find searches for one of our events that fits. source identifies the search.
func (p *probes) find(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source string, fits func(arrival) bool) (ids.MXEvent, bool, error) {
	gap, done, err := p.turn(ctx)
	if err != nil {
		return "", false, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	probe, err := p.checkpoint(ctx, room, reader, source)
	if err != nil {
		return "", false, fmt.Errorf("send a probe event: %w", err)
	}
	for ; ; gap = min(2*gap, longProbeGap) {
		found, shown, err := p.search(ctx, room, reader, probe, fits)
		if err == nil && shown {
			p.behind.Store(false)
			p.settle(room)
			return found, found != "", nil
		}
		if err == nil && !wait(ctx, gap) {
			err = errNotShown
		}
		if err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) { // and not because the bridge stops
				p.behind.Store(true)
			}
			return found, found != "", err
		}
	}
}

var errNotShown = fmt.Errorf("the homeserver %w: it does not show what it has accepted", model.ErrUnavailable)

// turn returns when a search may begin, with the time to wait before it is repeated. done
// ends it.
func (p *probes) turn(ctx context.Context) (gap time.Duration, done func(), err error) {
	if !p.behind.Load() {
		err = p.turns.Acquire(ctx, 1)
		return probeGap, func() { p.turns.Release(1) }, err
	}
	if !p.turns.TryAcquire(searchesAtOnce) {
		return 0, nil, errNotShown
	}
	return longProbeGap, func() { p.turns.Release(searchesAtOnce) }, nil
}

// checkpoint returns the probe that a search waits for: the one of the previous search, or
// a new one. A probe whose outcome is unknown is sent again under the same transaction ID.
func (p *probes) checkpoint(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source string) (string, error) {
	p.mu.Lock()
	pending := p.pending[room]
	if fence := queue.Fence(ctx); pending.source != source || pending.fence != fence {
		pending = pendingProbe{source: source, fence: fence, mark: rand.Text()}
		p.pending[room] = pending
	}
	p.mu.Unlock()
	if pending.event != "" {
		return pending.event, nil
	}
	sent, err := p.send(ctx, room, reader, pending.mark)
	if err != nil {
		return "", err
	}
	pending.event = sent
	p.mu.Lock()
	p.pending[room] = pending
	p.mu.Unlock()
	return sent, nil
}

// settle forgets the probe of a room: a later search needs a later probe.
func (p *probes) settle(room ids.MXRoom) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pending, room)
}

// Probe implements relay.Matrix: it sends a probe event. The event follows everything
// that the homeserver has, so a server that lacks some of that asks for it.
func (p *probes) Probe(ctx context.Context, room ids.MXRoom, as ids.MXUser) error {
	_, err := p.send(ctx, room, as, rand.Text())
	return err
}

// send sends an event that no client displays, with a unique mark in it, and
// returns its ID.
func (p *probes) send(ctx context.Context, room ids.MXRoom, as ids.MXUser, mark string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	resp, err := p.as(as).SendMessageEvent(ctx, room, probe, map[string]string{"mark": mark}, mautrix.ReqSendEvent{TransactionID: mark})
	if err != nil {
		return "", side(err)
	}
	return string(resp.EventID), nil
}

// search looks for our newest event that fits. shown is false if the probe, which
// must come first, was not there yet.
func (p *probes) search(ctx context.Context, room ids.MXRoom, reader ids.MXUser, probe string, fits func(arrival) bool) (found ids.MXEvent, shown bool, err error) {
	err = p.history.backwards(ctx, room, reader, func(events []arrival) (bool, error) {
		for _, a := range events {
			shown = shown || string(a.head.ID) == probe
			if !p.names.Owns(a.head.Sender) {
				continue
			}
			if fits(a) {
				found = a.head.ID
				return false, nil
			}
			written, ok := a.event.(event.MXWritten)
			if !ok || written.Event.Content.Source == "" {
				continue
			}
			if linked, err := p.store.EventLinked(ctx, ids.RCMessage(written.Event.Content.Source)); err != nil || linked {
				return false, err
			}
		}
		return true, nil
	})
	return found, shown || found != "", err
}
