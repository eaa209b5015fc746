package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// slowAnswer is a homeserver that shows a message to its people before the bridge has the
// response to the request that sent it.
type slowAnswer struct {
	*matrix
	mu    sync.Mutex
	shown json.RawMessage
	asked chan struct{} // closed when the bridge requests the event
	first sync.Once
}

func (m *slowAnswer) Send(ctx context.Context, room ids.MXRoom, as ids.MXUser, txn string, at time.Time, c convert.Content) (ids.MXEvent, error) {
	id, err := m.matrix.Send(ctx, room, as, txn, at, c)
	m.mu.Lock()
	if m.shown == nil {
		m.shown, _ = json.Marshal(map[string]any{"event_id": id, "type": "m.room.message", "sender": as, "room_id": room, "content": c})
	}
	m.mu.Unlock()
	select {
	case <-m.asked:
	case <-time.After(3 * time.Second): // no request
	}
	return id, err
}

func (m *slowAnswer) Event(context.Context, ids.MXRoom, ids.MXUser, ids.MXEvent) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shown == nil {
		return nil, model.ErrNotFound
	}
	m.first.Do(func() { close(m.asked) })
	return m.shown, nil
}

// threads is a chat that records the threads of messages.
type threads struct{ *chat }

func (c threads) Send(_ context.Context, _ model.Puppet, _ ids.RCRoom, _, thread ids.RCMessage, text string) error {
	return c.do("in the thread of %s: %s", thread, text)
}

// What people do with a message that their homeserver already shows, a reaction or a reply
// in its thread, waits until the bridge knows which message it is.
func TestAMessageIsReactedToBeforeTheBridgeHasItsAnswer(t *testing.T) {
	const message = "rcmessage00000001"
	for name, c := range map[string]struct {
		kind    string
		content map[string]any
		want    string
	}{
		"reaction": {event.KindMXReact, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": "$" + message, "key": "👍️"}}, "bob_far.org reacts :thumbsup: true"},
		"thread": {event.KindMXMessage, map[string]any{"msgtype": "m.text", "body": "in it", "m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": "$" + message}},
			"in the thread of " + message + ": in it"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			slow := &slowAnswer{matrix: b.mx, asked: make(chan struct{})}
			b.MX, b.RC = slow, threads{b.rc}
			payload, _ := json.Marshal(map[string]any{"_id": message, "rid": rcRoom, "msg": "hello", "ts": map[string]any{"$date": time.Now().UnixMilli()}, "u": map[string]any{"_id": "alice", "username": "alice"}})
			b.must(b.Accept(t.Context(), []queue.Item{{ID: "rc:" + message, Lane: model.RCLane(rcRoom), Kind: event.KindRCMessage, Payload: payload}}, nil))
			b.run()
			until(t, "the message", b.mx.log, func(got []string) bool { return fmt.Sprint(got) != "[]" })
			b.says(c.kind, c.content)
			b.untilRC(c.want)
		})
	}
}
