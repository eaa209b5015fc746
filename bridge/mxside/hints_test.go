package mxside

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"appliance/bridge/ids"
)

// The sender of a hint is not authenticated, so a hint must be small, whatever its sender claims.
func TestHintsAreSmallAndFew(t *testing.T) {
	h := newHints(&client{names: ids.Namespace{Server: "home", Bot: "bot"}, log: slog.New(slog.DiscardHandler)}, nil, nil,
		func(context.Context, ids.MXUser) (bool, error) { return false, nil })
	send := func(ghost, filler string) int {
		body := fmt.Sprintf(`{"type":"m.room.member","room_id":"!r:far","sender":"@m:far","state_key":%q,"content":{"membership":"invite","filler":%q}}`, ghost, filler)
		answer := httptest.NewRecorder()
		h.serve(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/hint/invite", strings.NewReader(body)))
		return answer.Code
	}
	if status := send("@ada:home", strings.Repeat("a", 129<<10)); status != http.StatusRequestEntityTooLarge || len(h.again) != 0 {
		t.Errorf("a hint of more than 128 kB is answered %d, and %d are kept", status, len(h.again))
	}
	if send("@"+strings.Repeat("a", 251)+":home", ""); len(h.again) != 0 {
		t.Error("an address of 257 bytes is kept")
	}
	if send("@"+strings.Repeat("a", 249)+":home", ""); len(h.again) != 1 {
		t.Error("an address of 255 bytes is not kept")
	}
	for range 3 {
		send("@ada:home", "")
	}
	if len(h.again) != 2 || len(h.ghosts) != 2 {
		t.Errorf("two who are hinted at several times make %d and %d", len(h.again), len(h.ghosts))
	}
	for n := range 2 * maxHints {
		if status := send(fmt.Sprintf("@a%d:home", n), ""); status != http.StatusOK {
			t.Fatalf("hint %d is answered %d", n, status)
		}
	}
	if len(h.again) != maxHints || len(h.ghosts) != maxHints {
		t.Errorf("of a flood %d and %d are kept, want %d", len(h.again), len(h.ghosts), maxHints)
	}
}
