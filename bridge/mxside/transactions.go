package mxside

import (
	"context"
	"encoding/json"
	"net/http"
)

// transactions stores what the homeserver pushes.
type transactions struct {
	*client
	contact *contact
	replay  *replay
	rereads *rereads
	inbox   *inbox
	echoes  *echoes
}

// store stores the events of a transaction. status is the response to the
// homeserver: 200 once they are on disk.
func (t *transactions) store(ctx context.Context, events []json.RawMessage) (status int, why string) {
	arrived := arrivals(t.log, events, "")
	items := t.inbox.items(arrived)
	ours := t.echoes.ours(arrived)
	t.echoes.note(ours)
	late, err := t.echoes.late(ctx, ours)
	if err != nil {
		t.log.Error("a transaction could not be compared with what was sent", "events", len(arrived), "err", err)
		return http.StatusInternalServerError, "the database does not answer"
	}
	if len(items)+len(late) == 0 {
		return http.StatusOK, ""
	}
	doubted := t.contact.doubted(ctx)
	if doubted {
		if err := t.replay.recover(ctx, arrived); err != nil {
			t.log.Warn("a transaction was deferred", "events", len(items), "err", err)
			return http.StatusServiceUnavailable, "what came before could not be read"
		}
	}
	if err := t.inbox.accept(ctx, append(items, late...), nil); err != nil {
		t.log.Error("a transaction could not be stored", "events", len(items), "err", err)
		return http.StatusInternalServerError, "the events could not be stored"
	}
	t.rereads.note(arrived, doubted)
	return http.StatusOK, ""
}
