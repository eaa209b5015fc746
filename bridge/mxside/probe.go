package mxside

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"maunium.net/go/mautrix"
	mxevent "maunium.net/go/mautrix/event"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// probe is the type of the events by which the bridge finds out how far the homeserver
// has come. No client shows it.
var probe = mxevent.Type{Type: "org.appliance.checkpoint", Class: mxevent.MessageEventType}

const (
	// probeFor is how long a probe may take to be accepted, and to be shown.
	probeFor = 15 * time.Second
	probeGap = 100 * time.Millisecond
)

// probes sends probe events.
type probes struct {
	*client
	history *history
	store   Store
}

// FindSent implements relay.Matrix.
//
// A homeserver whose client has gone away may still be storing the event, and
// then shows it some time after it has stored it. So FindSent sends an event of
// its own first, and searches only once that one is shown: both go through the
// same queue of the room. A ghost's messages are sent one after the other, so
// the search ends at the newest one of ours that is linked.
func (p *probes) FindSent(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source string) (ids.MXEvent, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	sent, err := p.send(ctx, room, reader, rand.Text())
	if err != nil {
		return "", false, fmt.Errorf("send a probe event: %w", err)
	}
	for {
		found, shown, err := p.search(ctx, room, reader, source, sent)
		if err != nil || shown {
			return found, found != "", err
		}
		select {
		case <-ctx.Done():
			return "", false, fmt.Errorf("the homeserver %w: it does not show what it has accepted", model.ErrUnavailable)
		case <-time.After(probeGap):
		}
	}
}

// Probe implements relay.Matrix: it sends a probe event. It comes after everything the
// homeserver has, so a server that lacks some of that asks for it.
func (p *probes) Probe(ctx context.Context, room ids.MXRoom, as ids.MXUser) error {
	_, err := p.send(ctx, room, as, rand.Text())
	return err
}

// send sends an event that no client shows, with a mark in it that no
// other has, and returns its ID.
func (p *probes) send(ctx context.Context, room ids.MXRoom, as ids.MXUser, mark string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	resp, err := p.as(as).SendMessageEvent(ctx, room, probe, map[string]string{"mark": mark}, mautrix.ReqSendEvent{TransactionID: mark})
	if err != nil {
		return "", side(err)
	}
	return string(resp.EventID), nil
}

// search looks for the event sent for source. shown is false when the probe
// was not there yet, which must come first.
func (p *probes) search(ctx context.Context, room ids.MXRoom, reader ids.MXUser, source, probe string) (found ids.MXEvent, shown bool, err error) {
	err = p.history.backwards(ctx, room, reader, func(events []arrival) (bool, error) {
		for _, a := range events {
			shown = shown || string(a.head.ID) == probe
			written, ok := a.event.(event.MXWritten)
			if !ok || written.Event.Content.Source == "" || !p.names.Owns(a.head.Sender) {
				continue
			}
			if written.Event.Content.Source == source {
				found = a.head.ID
				return false, nil
			}
			if linked, err := p.store.EventLinked(ctx, ids.RCMessage(written.Event.Content.Source)); err != nil || linked {
				return false, err
			}
		}
		return true, nil
	})
	return found, shown || found != "", err
}
