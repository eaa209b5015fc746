package ephemeral

import (
	"context"
	"sync/atomic"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// slowChat takes its time to report who has read.
type slowChat struct {
	receiptRocketChat
	asked, answer chan struct{}
}

func (c slowChat) HasRead(context.Context, model.Portal, ids.RCUser) (bool, error) {
	c.asked <- struct{}{}
	<-c.answer
	return true, nil
}

type ghosts struct{ receiptStore }

func (ghosts) GhostByRC(_ context.Context, user ids.RCUser) (model.Ghost, bool, error) {
	return model.Ghost{RCUser: user, MXUser: ids.MXUser("@" + user + ":here.org")}, true, nil
}

type marks struct{ n atomic.Int32 }

func (m *marks) MarkRead(context.Context, ids.MXRoom, ids.MXUser, ids.MXEvent) error {
	m.n.Add(1)
	return nil
}

// A server that is slow to answer is not asked again meanwhile: who has read shows once.
func TestASlowServerShowsOnceWhoHasRead(t *testing.T) {
	chat, shown := slowChat{asked: make(chan struct{}, 2), answer: make(chan struct{})}, new(marks)
	re := &Receipts{RC: chat, Store: ghosts{}, MX: shown, rooms: map[ids.MXRoom]*unread{}}
	u := &unread{portal: model.Portal{MXRoom: "!room:here.org"}, event: "$event", people: []ids.RCUser{"alice"}}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- re.askWhoHasRead(t.Context(), u) }()
	<-chat.asked
	go func() { second <- re.askWhoHasRead(t.Context(), u) }()
	select {
	case err := <-second:
		second <- err
	case <-chat.asked:
		t.Error("it was asked again before it had answered")
	}
	close(chat.answer)
	for _, ended := range []chan error{first, second} {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if n := shown.n.Load(); n != 1 {
		t.Errorf("shown %d times", n)
	}
}
