package mxside

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// holdback is the strategy for a homeserver that may hold transactions back; see Traits.HoldsBack.
type holdback struct {
	*client
	pushed *pushed
	probes *probes
	store  Store
	team   *team
	held   held
}

func newHoldback(base *pushed, p parts) *holdback {
	h := &holdback{client: p.client, pushed: base, probes: p.probes, store: p.inbox.store, team: p.team}
	h.held.wanted, h.held.refusals = make(chan struct{}, 1), make(chan struct{}, 1)
	h.held.forget()
	if !p.team.alone() {
		p.team.Subscribe(takenTopic, h.held.elsewhere)
	}
	return h
}

func (h *holdback) run(ctx context.Context, running *sync.WaitGroup) {
	h.pushed.run(ctx, running)
}

func (h *holdback) lead(ctx context.Context, running *sync.WaitGroup) {
	running.Go(func() { h.flushes(ctx) })
	running.Go(func() { h.retryRefused(ctx) })
}

func (h *holdback) keep(ctx context.Context) error {
	if err := h.pushed.pings.ask(ctx); err != nil {
		return err
	}
	if !h.pushed.pings.contact.Connected() {
		h.held.want()
	}
	h.pushed.pings.contact.answered()
	wait(ctx, pingEvery)
	return ctx.Err()
}

func (h *holdback) lost() {
	h.pushed.lost()
	h.held.forget()
}

func (h *holdback) follow(ghost ids.MXUser) { h.pushed.follow(ghost) }

// take takes in a transaction, or refuses it when earlier transactions may be held back.
func (h *holdback) take(ctx context.Context, txn string, events []json.RawMessage) (status int, why string) {
	number, err := strconv.ParseInt(txn, 10, 64)
	if err != nil {
		return h.pushed.take(ctx, txn, events)
	}
	if !h.team.leading() {
		if status, why = h.pushed.take(ctx, txn, events); status == http.StatusOK {
			h.tell(number, events)
		}
		return status, why
	}
	refuse, gap := h.held.arrived(number)
	if gap {
		h.pushed.pings.contact.overtook()
		h.held.want()
	}
	if refuse {
		h.held.refusedOne()
		return http.StatusServiceUnavailable, "again, please, with what came before"
	}
	if status, why = h.pushed.take(ctx, txn, events); status != http.StatusOK {
		h.held.failed()
		return status, why
	}
	h.held.taken(number, events)
	return status, why
}

// flushes makes Synapse send what it holds back, whenever requested, until ctx ends.
func (h *holdback) flushes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.held.wanted:
		}
		if !h.flush(ctx) && !wait(ctx, flushPause) {
			return
		}
	}
}

// flush returns false if Synapse may still be holding something back.
func (h *holdback) flush(ctx context.Context) bool {
	portals, err := h.store.Portals(ctx)
	if err != nil {
		h.log.Warn("the portals could not be read", "err", err)
		return false
	}
	if len(portals) == 0 {
		return true // nobody has said anything yet, and there is no room to try it in
	}
	for range flushTries {
		mark := rand.Text()
		back := h.held.await(mark)
		if err = h.probe(ctx, portals, mark); err == nil {
			select {
			case <-ctx.Done():
				return false
			case <-back:
				if h.held.complete() {
					return true
				}
			case <-time.After(flushFor):
				h.held.refuseNext()
				_, err = h.pushed.pings.once(ctx)
			}
		}
		if !wait(ctx, flushGap) {
			return false
		}
	}
	h.log.Warn("the homeserver may still hold transactions back; their events may arrive late", "err", err)
	return false
}

// probe sends a probe event to the first room that accepts one.
func (h *holdback) probe(ctx context.Context, portals []model.Portal, mark string) error {
	var err error
	for _, p := range portals[:min(len(portals), flushRooms)] {
		if _, err = h.probes.send(ctx, p.MXRoom, p.ReadAs(h.bot()), mark); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

// retryRefused makes Synapse retry a refused transaction immediately once it has
// recorded the refusal, until ctx ends.
func (h *holdback) retryRefused(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.held.refusals:
		}
		for busy := true; busy && wait(ctx, refusedFor); {
			var err error
			if busy, err = h.pushed.pings.once(ctx); err != nil {
				h.log.Warn("the homeserver could not be pinged after a transaction was refused", "err", err) // it resends on its own, later
				break
			}
		}
	}
}

// tell informs the leading process of a numbered transaction, and of the marks of probe
// events in it.
func (h *holdback) tell(number int64, events []json.RawMessage) {
	value := strconv.FormatInt(number, 10)
	for _, raw := range events {
		if e, err := convert.ParseEvent(raw); err == nil && e.Type == probe.Type {
			value += " " + string(raw)
		}
	}
	h.team.Announce(takenTopic, value)
}
