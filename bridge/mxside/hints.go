package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// The web server mirrors the requests by which other servers invite our users,
// because Dendrite does not push such invitations. No signature has been checked at
// that point, so the request may come from anybody and contain anything: it is only
// a reason to look. Hints live in memory, one per ghost and up to a limit. A lost
// hint costs minutes, until the sweep has read the ghost.
const (
	maxHintBody = 128 << 10
	maxHints    = 256
	// hintTries bounds the lookups of one ghost, and hintWait the pause between two of
	// them: the hint arrives before the homeserver has processed the invitation.
	hintTries = 12
	hintWait  = 5 * time.Second
	// hintCalls is how many ghosts are looked up at once. It bounds the cost of a
	// flood of hints for both servers.
	hintCalls = 2
)

// hints holds the ghosts that may have been invited. Methods are safe for
// concurrent use.
type hints struct {
	*client
	syncer *syncer
	inbox  *inbox
	person func(ctx context.Context, user ids.MXUser) (bool, error)

	mu      sync.Mutex
	again   map[ids.MXUser]bool // by ghost that waits or is being looked up; true if hinted again meanwhile
	ghosts  chan ids.MXUser
	dropped int // since the last hint that was taken
}

func newHints(c *client, s *syncer, in *inbox, person func(context.Context, ids.MXUser) (bool, error)) *hints {
	return &hints{client: c, syncer: s, inbox: in, person: person, again: map[ids.MXUser]bool{}, ghosts: make(chan ids.MXUser, maxHints)}
}

// put queues a hint. dropped is true for the first of a series that does not fit.
func (h *hints) put(ghost ids.MXUser) (dropped bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.again[ghost]; known {
		h.again[ghost] = true
		return false
	}
	if len(h.again) >= maxHints {
		h.dropped++
		return h.dropped == 1
	}
	h.again[ghost], h.dropped = false, 0
	h.ghosts <- ghost // has room for all of again
	return false
}

// done notes that a ghost was looked up, and queues it once more if it was hinted
// again.
func (h *hints) done(ghost ids.MXUser) {
	h.mu.Lock()
	again := h.again[ghost]
	delete(h.again, ghost)
	h.mu.Unlock()
	if again {
		h.put(ghost)
	}
}

// serve serves /hint/invite. Unless the body is too large, its response does not depend
// on the hint, so that it does not reveal who exists.
func (h *hints) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHintBody))
	if err != nil {
		answer(w, http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "the body is too large")
		return
	}
	if ghost, ok := h.hinted(body); ok && h.put(ghost) {
		h.log.Warn("too many announced invitations; the others are found later", "limit", maxHints)
	}
	answer(w, http.StatusOK, "", "")
}

// hinted returns the ghost that the body of PUT /_matrix/federation/v{1,2}/invite
// invites.
func (h *hints) hinted(body []byte) (ids.MXUser, bool) {
	var v2 struct {
		Event json.RawMessage `json:"event"`
	}
	raw := json.RawMessage(body) // version 1 sends the event itself
	if json.Unmarshal(body, &v2) == nil && len(v2.Event) > 0 {
		raw = v2.Event
	}
	e, err := convert.ParseEvent(raw)
	ghost := ids.MXUser(e.StateKey)
	if err != nil || e.Type != "m.room.member" || e.Room == "" || tooLong(e.StateKey, e.Room, e.Sender) || !h.names.Owns(ghost) {
		return "", false
	}
	return ghost, true
}

// run looks up the ghosts that may have been invited until ctx ends.
func (h *hints) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	calls := make(chan struct{}, hintCalls)
	for {
		select {
		case <-ctx.Done():
			return
		case ghost := <-h.ghosts: // at most maxHints at once
			running.Go(func() {
				defer h.done(ghost)
				if err := h.look(ctx, ghost, calls); err != nil && ctx.Err() == nil {
					h.log.Info("an announced invitation was not found", "mx_user", ghost, "err", err)
				}
			})
		}
	}
}

// look stores a ghost's invitations once the homeserver knows them. calls bounds
// the number of concurrent requests of all hints together.
func (h *hints) look(ctx context.Context, ghost ids.MXUser, calls chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	for try := range hintTries {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case calls <- struct{}{}:
		}
		done, err := h.lookOnce(ctx, ghost)
		<-calls
		if done {
			return err
		}
		if last = err; !wait(ctx, min(hintWait, 100*time.Millisecond<<try)) {
			break
		}
	}
	return errors.Join(last, ctx.Err())
}

// lookOnce looks once. done is false if it is worth trying again.
func (h *hints) lookOnce(ctx context.Context, ghost ids.MXUser) (done bool, err error) {
	if ok, err := h.person(ctx, ghost); err != nil || !ok {
		return err == nil, err // done if the ghost stands for nobody
	}
	found, err := h.syncer.Invitations(ctx, ghost)
	if err != nil || len(found) == 0 {
		return false, err
	}
	return true, h.inbox.accept(ctx, invitationItems(found), nil)
}

func invitationItems(found map[string]event.MXInvited) []queue.Item {
	items := make([]queue.Item, 0, len(found))
	for id, inv := range found {
		items = append(items, model.InvitationItem(id, inv))
	}
	return items
}
