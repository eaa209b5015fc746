package rcside

import (
	"log/slog"
	"strings"
	"testing"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

// An unknown kind of message from a newer server is skipped, and logged once.
func TestAnUnknownKindOfMessageIsLoggedOnce(t *testing.T) {
	var log strings.Builder
	s := New(Options{Client: rocketchat.New("http://127.0.0.1:1", "bridge", secret.New("t")), Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		for _, kind := range []string{"video-hologram", "user-muted"} {
			items, err := s.items(t.Context(), rocketchat.Message{ID: "m", RoomID: "r", Type: kind, User: rocketchat.UserRef{ID: "bridge"}}, model.Seen{})
			if err != nil || len(items) != 0 {
				t.Fatalf("%v, %v", items, err)
			}
		}
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "kind=video-hologram") {
		t.Errorf("the log is %s", got)
	}
}
