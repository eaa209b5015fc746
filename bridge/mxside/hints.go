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

// The web server mirrors what other servers send when they invite one of ours,
// because Dendrite pushes no such invitation. Nobody has checked a signature by
// then, so the request may come from anybody and hold anything: it is only a reason
// to look. Hints live in memory, one for each ghost and only so many. One that is
// lost costs minutes: the sweep reads every ghost.
const (
	maxHintBody = 128 << 10
	maxHints    = 256
	// hintTries and hintWait are how often, and for how long, the homeserver is asked:
	// the hint arrives before the homeserver has dealt with the invitation.
	hintTries = 12
	hintWait  = 5 * time.Second
	// hintCalls is how many ghosts are looked up at once. It bounds what a flood of
	// hints costs both servers.
	hintCalls = 2
)

// hints are the ghosts that may have been invited. Methods are safe for concurrent
// use.
type hints struct {
	*client
	syncer *syncer
	inbox  *inbox
	person func(ctx context.Context, user ids.MXUser) (bool, error)

	mu      sync.Mutex
	again   map[ids.MXUser]bool // by ghost that waits or is looked at; true when hinted again meanwhile
	ghosts  chan ids.MXUser
	dropped int // since the last one that was taken
}

func newHints(c *client, s *syncer, in *inbox, person func(context.Context, ids.MXUser) (bool, error)) *hints {
	return &hints{client: c, syncer: s, inbox: in, person: person, again: map[ids.MXUser]bool{}, ghosts: make(chan ids.MXUser, maxHints)}
}

// put notes a hint. dropped is true for the first of a series that find no place.
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
	h.ghosts <- ghost // as large as again
	return false
}

// done notes that a ghost was looked at, and has it looked at once more when it was
// hinted again.
func (h *hints) done(ghost ids.MXUser) {
	h.mu.Lock()
	again := h.again[ghost]
	delete(h.again, ghost)
	h.mu.Unlock()
	if again {
		h.put(ghost)
	}
}

// serve serves /hint/invite. It always answers the same, whatever was sent: nobody
// learns from it who exists.
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

// run looks at the ghosts that may have been invited until ctx ends.
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

// look stores what a ghost is invited to, once the homeserver knows. calls
// bounds how many requests are made at once for all hints together.
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

// lookOnce looks once. done is false when it is worth another look.
func (h *hints) lookOnce(ctx context.Context, ghost ids.MXUser) (done bool, err error) {
	if ok, err := h.person(ctx, ghost); err != nil || !ok {
		return err == nil, err // done when the ghost stands for nobody
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
