package model_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

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
	for err, want := range map[error]string{model.ErrNoAccount: "deleted or deactivated", model.ErrOutsider: "you are not in it", model.ErrRefused: "refused"} {
		if got := queue.Sentence(model.Outcome(queue.Item{}, fmt.Errorf("send: %w", err), "refused")); !strings.Contains(got, want) {
			t.Errorf("after %v the sender reads %q", err, got)
		}
	}
}
