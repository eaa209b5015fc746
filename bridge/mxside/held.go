package mxside

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Synapse numbers its transactions, keeps each one until the bridge has accepted
// it, and after a failure sends all that it kept, oldest first. But two kinds it
// keeps forever, or until a failure happens by chance: a transaction that was in
// flight when it stopped, and one that it created between finding that nothing else
// is kept and recording that the bridge is back. So after each failure the bridge
// sends probe events and waits for their echo: it refuses the first transaction, so
// that Synapse sends all that it keeps, and continues until a probe event has come
// back without a failure and no number before it is missing.
const (
	// flushTries and flushFor bound how many probe events are sent, and how long the echo
	// of one may take. flushGap is the pause between two of them: Synapse takes a moment
	// to record that the bridge is there.
	flushTries = 8
	flushFor   = 3 * time.Second
	flushGap   = time.Second
	// flushPause is how long the bridge waits after giving up.
	flushPause = time.Minute
	// missingEvery is the minimum interval between flushes requested only by missing numbers.
	missingEvery = 10 * time.Minute
	maxMissing   = 1000
	// A number that is still missing after this many probe events have come back
	// belongs to another application service of the same homeserver: all of them share
	// one sequence of transaction IDs. Numbers are then ignored for othersFor.
	othersAfter = 3
	othersFor   = time.Hour
	// refusedFor is how long Synapse takes to record that a transaction was refused.
	refusedFor = 200 * time.Millisecond
	// flushRooms is the number of rooms in which a probe event is tried: any one will do.
	flushRooms = 5
)

// held tracks the transactions that Synapse may be holding back.
type held struct {
	// wanted has an element if Synapse should send what it holds back.
	wanted chan struct{}
	// refusals has an element if Synapse should immediately retry what was refused.
	refusals chan struct{}

	mu      sync.Mutex
	last    int64         // the highest number since the last absence, 0 for none
	missing map[int64]int // lower numbers that were not taken, and for how many probe events
	asked   time.Time     // when missing numbers last requested a flush
	others  time.Time     // until when numbers are assumed to be shared with others
	refuse  bool          // refuse the next transaction
	refused bool          // one was refused or failed since awaited was sent
	awaited []byte        // the mark of the awaited probe event; nil for none
	back    chan struct{} // closed when its echo arrives
}

// want requests a flush.
func (h *held) want() {
	select {
	case h.wanted <- struct{}{}:
	default: // already requested
	}
}

// forget notes an absence of the homeserver: its numbers are no longer known, and the
// next transaction will be refused.
func (h *held) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.missing, h.refuse = 0, map[int64]int{}, true
}

// arrived notes a transaction. refuse means that it must not be taken, gap that
// earlier ones are missing and that this was not known yet.
func (h *held) arrived(number int64) (refuse, gap bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last > 0 && number-h.last <= maxMissing && time.Now().After(h.others) {
		for n := h.last + 1; n < number; n++ {
			h.missing[n] = 0
			gap = true
		}
	}
	h.last = max(h.last, number)
	h.missing[number] = 0 // until it is taken
	if gap = gap && time.Since(h.asked) > missingEvery; gap {
		h.asked = time.Now()
	}
	refuse, h.refuse = h.refuse, false
	return refuse, gap
}

// failed notes that a transaction was not stored: Synapse sends it again.
func (h *held) failed() {
	h.mu.Lock()
	h.refused = true
	h.mu.Unlock()
	h.want()
}

// taken notes that a transaction was stored.
func (h *held) taken(number int64, events []json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.missing, number)
	for _, e := range events {
		if h.awaited != nil && bytes.Contains(e, h.awaited) {
			h.awaited = nil
			close(h.back)
		}
	}
}

// await starts waiting for the echo of a probe event, which contains mark.
func (h *held) await(mark string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.wanted: // the probe event also covers this request
	default:
	}
	h.refused, h.awaited, h.back = false, []byte(mark), make(chan struct{})
	return h.back
}

// complete reports, once the echo of the probe event has arrived, whether no transaction has
// failed meanwhile and none is missing. If one is missing, the next transaction will be refused.
func (h *held) complete() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := range h.missing {
		if h.missing[n]++; h.missing[n] == othersAfter {
			h.others = time.Now().Add(othersFor)
		}
	}
	if time.Now().Before(h.others) {
		clear(h.missing)
	}
	h.refuse = len(h.missing) > 0
	return !h.refused && !h.refuse
}

// refuseNext causes the next transaction to be refused.
func (h *held) refuseNext() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = true
}

// refusedOne notes that a transaction was refused on purpose.
func (h *held) refusedOne() {
	h.failed()
	select {
	case h.refusals <- struct{}{}:
	default: // already requested
	}
}

// elsewhere notes numbered transactions that were stored by other processes.
func (h *held) elsewhere(values []string) {
	for _, v := range values {
		text, event, _ := strings.Cut(v, " ")
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			continue
		}
		h.arrived(number)
		h.taken(number, []json.RawMessage{json.RawMessage(event)})
	}
}
