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
	for err, want := range map[error]string{model.ErrNoAccount: "deleted or deactivated", model.ErrOutsider: "you are not in it", model.ErrRefused: "refused", model.ErrPrevented: "an app", model.ErrBanned: "you are banned", model.ErrNotAdmitted: "does not let you in"} {
		if got := queue.Sentence(model.Outcome(queue.Item{}, fmt.Errorf("send: %w", err), "refused")); !strings.Contains(got, want) {
			t.Errorf("after %v the sender reads %q", err, got)
		}
	}
	// What is rejected may be accepted a moment later, but does not hold up its room for long.
	for err, most := range map[error]time.Duration{model.ErrForbidden: time.Minute, model.ErrUnclear: time.Minute, model.ErrBroken: 10 * time.Minute} {
		err, held := fmt.Errorf("send: %w", err), time.Duration(0)
		for failures := 0; queue.Sentence(model.Outcome(queue.Item{Failures: failures}, err, "refused")) != "refused"; failures++ {
			if held += queue.Backoff(failures); held > most {
				t.Fatalf("%v: the room is held up for more than %v", err, most)
			}
		}
		if held < most/4 {
			t.Errorf("%v: it is given up after %v", err, held)
		}
	}
}
