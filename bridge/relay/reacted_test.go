package relay_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// cutOff is a homeserver that accepts a reaction and whose response is lost.
type cutOff struct {
	*matrix
	taken *atomic.Int32
}

func (m cutOff) React(_ context.Context, _ ids.MXRoom, as ids.MXUser, target ids.MXEvent, key, _ string) (ids.MXEvent, error) {
	m.taken.Add(1)
	return "", fmt.Errorf("%w: EOF", model.ErrUnavailable)
}

func (m cutOff) FindReaction(_ context.Context, _ ids.MXRoom, _, as ids.MXUser, target ids.MXEvent, key string) (ids.MXEvent, bool, error) {
	return "$thumb", m.taken.Load() > 0, m.do("%s is looked for on %s by %s", key, target, as)
}

// A reaction whose response is lost is looked up, not sent again: a homeserver that was
// restarted meanwhile would show two.
func TestAReactionWhoseAnswerIsLostIsNotSentAgain(t *testing.T) {
	b := newBench(t)
	taken := new(atomic.Int32)
	b.MX = cutOff{b.mx, taken}
	b.run()
	first := b.says(event.KindMXMessage, text("first"))
	b.untilRC("bob_far.org says first")
	links, err := b.Store.LinksByEvent(t.Context(), ids.MXEvent(first))
	if err != nil || len(links) != 1 {
		t.Fatal(links, err)
	}
	payload := fmt.Sprintf(`{"_id":%q,"rid":"room","msg":"first","ts":"2026-01-01T00:00:00.000Z","u":{"_id":"bob","username":"bob_far.org"},"reactions":{":thumbsup:":{"usernames":["alice"]}}}`, links[0].RCMessage)
	b.must(b.Accept(t.Context(), []queue.Item{{ID: "rc:reacted", Lane: model.RCLane(rcRoom), Kind: event.KindRCReact, Payload: []byte(payload)}}, nil))
	b.wait("the reaction to be found", func() bool {
		have, err := b.Store.Reactions(t.Context(), ids.RCMessage(links[0].RCMessage))
		return err == nil && len(have) == 1 && have[0].Event == "$thumb"
	})
	if n := taken.Load(); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	if log := strings.Join(b.mx.log(), "\n"); !strings.Contains(log, "is looked for on "+first+" by @alice:here.org") {
		t.Errorf("on Matrix: %s", log)
	}
}
