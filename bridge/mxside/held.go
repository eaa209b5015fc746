package mxside

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Synapse numbers its transactions, keeps each one until the bridge has taken it,
// and after a failure sends all that it kept, oldest first. But it keeps two kinds
// for good, or until a failure comes by chance: one that was under way when it
// stopped, and one that it made in the moment between finding that nothing more is
// kept and noting that the bridge is there again. So after each failure the bridge
// sends probe events and waits for their echo: it refuses the first transaction, so
// that Synapse sends all that it keeps, and goes on until one probe event has come
// back without a failure and no number before it is missing.
const (
	// flushTries and flushFor bound how many probe events are sent, and how long the echo
	// of one may take. flushGap is between two of them: Synapse takes a moment
	// to note that the bridge is there.
	flushTries = 8
	flushFor   = 3 * time.Second
	flushGap   = time.Second
	// flushPause is how long the bridge waits after it gave up.
	flushPause = time.Minute
	// missingEvery is how often it begins only because numbers are missing.
	missingEvery = 10 * time.Minute
	maxMissing   = 1000
	// A number that is still missing after so many probe events have come back belongs
	// to another application service of the same homeserver: all of them share one
	// sequence of transaction IDs. Numbers are then ignored for othersFor.
	othersAfter = 3
	othersFor   = time.Hour
	// refusedFor is how long Synapse takes to note that a transaction was refused.
	refusedFor = 200 * time.Millisecond
	// flushRooms is in how many rooms a probe event is tried: any one will do.
	flushRooms = 5
)

// held is what the bridge knows of the transactions that Synapse may hold back.
type held struct {
	// wanted has an element when Synapse is to send what it holds back.
	wanted chan struct{}
	// refusals has an element when Synapse is to try at once what was refused.
	refusals chan struct{}

	mu      sync.Mutex
	last    int64         // the highest number since the last absence, 0 for none
	missing map[int64]int // numbers below it that were not taken, and after how many events
	asked   time.Time     // when a flush was last wanted because of those
	others  time.Time     // until when others are known to share the sequence of numbers
	refuse  bool          // the next transaction is to be refused
	refused bool          // one was refused or failed since awaited was sent
	awaited []byte        // the mark of the probe event that is awaited; nil for none
	back    chan struct{} // closed when its echo has come
}

// want asks for a flush.
func (h *held) want() {
	select {
	case h.wanted <- struct{}{}:
	default: // asked for already
	}
}

// forget notes an absence of the homeserver: nothing is known of its numbers any more,
// and the next transaction is to be refused.
func (h *held) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.missing, h.refuse = 0, map[int64]int{}, true
}

// arrived notes a transaction. refuse says that it is not to be taken, gap that some
// before it are missing and that this was not known yet.
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

// await begins to wait for the echo of a probe event, which has a mark in it.
func (h *held) await(mark string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.wanted: // by something that this will show
	default:
	}
	h.refused, h.awaited, h.back = false, []byte(mark), make(chan struct{})
	return h.back
}

// complete reports, when the echo of the probe event has come, whether no transaction has
// failed meanwhile and none is missing. If one is, the next transaction is to be refused.
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

// refuseNext makes the next transaction be refused.
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
	default: // asked for already
	}
}

// elsewhere notes numbered transactions that other processes stored.
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
