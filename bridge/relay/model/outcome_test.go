package model_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Nothing blocks a lane for ever: a stalled file uses up its attempts, and for a
// person without an account, or outside a direct room, no retry helps.
func TestNothingStopsALaneForEver(t *testing.T) {
	slow := fmt.Errorf("the file: %w", model.ErrSlow)
	if got := model.Outcome(queue.Item{}, slow, "refused"); !errors.Is(slow, got) {
		t.Errorf("a file that stands still is put off without counting: %#v", got)
	}
	for err, want := range map[error]string{model.ErrNoAccount: "deleted or deactivated", model.ErrOutsider: "you are not in it", model.ErrRefused: "refused", model.ErrBanned: "you are banned", model.ErrNotAdmitted: "does not let you in"} {
		if got := queue.Sentence(model.Outcome(queue.Item{}, fmt.Errorf("send: %w", err), "refused")); !strings.Contains(got, want) {
			t.Errorf("after %v the sender reads %q", err, got)
		}
	}
	// What is not allowed may be a moment later, but not for ever.
	forbidden, begun := fmt.Errorf("send: %w", model.ErrForbidden), time.Duration(0)
	for failures := 0; ; failures++ {
		err := model.Outcome(queue.Item{Failures: failures}, forbidden, "refused")
		if queue.Sentence(err) == "refused" {
			break
		}
		if begun += queue.Backoff(failures); begun > time.Minute {
			t.Fatalf("what is not allowed holds up its room for more than a minute")
		}
	}
	if begun < 10*time.Second {
		t.Errorf("what is not allowed is given up after %v", begun)
	}
}
