package rcside

import (
	"context"
	"fmt"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

// fullReader returns a reader that holds the maximum number of frames of a room.
func fullReader(caughtUp bool) *reader {
	r := newReader(nil, "")
	r.rooms["room"] = &room{done: caughtUp}
	for i := range maxFrames {
		r.frames = append(r.frames, rocketchat.Message{ID: fmt.Sprint(i), RoomID: "room"})
	}
	return r
}

// A sender that is faster than the store is blocked until something has been stored,
// and nothing is dropped.
func TestAFullReaderHoldsUp(t *testing.T) {
	r := fullReader(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.put(t.Context(), rocketchat.Message{ID: "last", RoomID: "room"})
	}()
	for range 2 { // the second fits once the first was taken: put is waiting
		select {
		case r.space <- struct{}{}:
		case <-done:
			t.Fatal("a message was dropped, or kept beyond the limit")
		}
	}
	var got []rocketchat.Message
	for len(got) <= maxFrames {
		r.mu.Lock()
		batch := r.ready()
		r.mu.Unlock()
		if len(batch) == 0 {
			<-done
			if r.overflow {
				t.Fatal("a message was dropped")
			}
		}
		got = append(got, batch...)
	}
	for i, m := range got[:maxFrames] {
		if m.ID != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.ID)
		}
	}
	if got[maxFrames].ID != "last" || r.overflow {
		t.Errorf("the last is %q, overflow %v", got[maxFrames].ID, r.overflow)
	}
}

// A session that ends does not wait for space, and the next one reads again what it
// dropped.
func TestAFullReaderEnds(t *testing.T) {
	r := fullReader(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.put(ctx, rocketchat.Message{ID: "last", RoomID: "room"})
	if !r.overflow || len(r.frames) != maxFrames {
		t.Errorf("overflow %v, %d frames", r.overflow, len(r.frames))
	}
}

// Frames of a room that is still being caught up wait in order, while those of other
// rooms go on.
func TestFramesWaitForTheirRoom(t *testing.T) {
	r := newReader(nil, "")
	r.rooms = map[ids.RCRoom]*room{"done": {done: true}, "new": {}}
	for i := range 3 * maxBatch {
		r.frames = append(r.frames, rocketchat.Message{ID: fmt.Sprint(i), RoomID: []string{"done", "new"}[i%2]})
	}
	var first []rocketchat.Message
	for batch := r.ready(); len(batch) > 0; batch = r.ready() {
		first = append(first, batch...)
	}
	r.rooms["new"].done = true
	var second []rocketchat.Message
	for batch := r.ready(); len(batch) > 0; batch = r.ready() {
		second = append(second, batch...)
	}
	for half, got := range [][]rocketchat.Message{first, second} {
		if len(got) != 3*maxBatch/2 {
			t.Fatalf("%d messages", len(got))
		}
		for i, m := range got {
			if m.ID != fmt.Sprint(2*i+half) {
				t.Fatalf("message %d is %q", i, m.ID)
			}
		}
	}
}
