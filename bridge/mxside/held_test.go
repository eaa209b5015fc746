package mxside

import (
	"encoding/json"
	"testing"
)

func TestHeld(t *testing.T) {
	begin := func(numbers ...int64) *held {
		h := &held{wanted: make(chan struct{}, 1)}
		h.forget()
		h.arrived(numbers[0]) // refused
		for _, n := range numbers {
			h.arrived(n)
			h.taken(n, nil)
		}
		return h
	}
	wanted := func(h *held) bool { return len(h.wanted) == 1 }

	t.Run("the first transaction after an absence is refused, and no other", func(t *testing.T) {
		h := &held{wanted: make(chan struct{}, 1)}
		h.forget()
		if refuse, _ := h.arrived(7); !refuse {
			t.Error("7 is taken")
		}
		if refuse, gap := h.arrived(7); refuse || gap {
			t.Errorf("7 again: refuse %v, gap %v", refuse, gap)
		}
	})
	t.Run("a missing number is reported once", func(t *testing.T) {
		h := begin(7, 8)
		if _, gap := h.arrived(10); !gap {
			t.Error("nobody misses 9")
		}
		if _, gap := h.arrived(12); gap {
			t.Error("11 is news as well")
		}
	})
	t.Run("a missing number makes the next transaction be refused, until it has come", func(t *testing.T) {
		h := begin(7, 8)
		h.arrived(10)
		h.taken(10, nil)
		h.await("x")
		if h.complete() {
			t.Error("nothing is held back")
		}
		if refuse, _ := h.arrived(11); !refuse {
			t.Error("11 is taken")
		}
		h.failed()
		for _, n := range []int64{9, 11} {
			h.arrived(n)
			h.taken(n, nil)
		}
		if h.complete() {
			t.Error("a failure is no proof")
		}
		h.await("y")
		if !h.complete() {
			t.Error("something is held back")
		}
	})
	t.Run("the numbers of another service do not matter for long", func(t *testing.T) {
		h := begin(7)
		h.arrived(9)
		h.taken(9, nil)
		for range 2 {
			h.await("x")
			if h.complete() {
				t.Error("8 is given up at once")
			}
		}
		h.await("x")
		if !h.complete() {
			t.Error("8 is waited for")
		}
		if _, gap := h.arrived(11); gap {
			t.Error("10 is news")
		}
	})
	t.Run("an event comes back", func(t *testing.T) {
		h := begin(7)
		back := h.await("MARK")
		h.taken(8, []json.RawMessage{[]byte(`{"type":"m.room.message"}`)})
		select {
		case <-back:
			t.Fatal("another did")
		default:
		}
		h.taken(9, []json.RawMessage{[]byte(`{"content":{"mark":"MARK"}}`)})
		<-back
	})
	t.Run("a failure asks for a look, and the look is its answer", func(t *testing.T) {
		h := begin(7)
		if h.failed(); !wanted(h) {
			t.Error("it does not")
		}
		if h.await("x"); wanted(h) {
			t.Error("a second look is wanted")
		}
		if h.failed(); h.complete() || !wanted(h) {
			t.Error("a failure during the look counts for nothing")
		}
	})
}
