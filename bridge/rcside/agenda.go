package rcside

import (
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

// agenda is the work of one account: its rooms, those to catch up with, those it is
// subscribed to, and the frames that its session received.
type agenda struct {
	more  chan struct{} // there is a frame to store
	work  chan struct{} // there is a room to catch up with
	news  chan struct{} // the wanted ephemeral events differ from those subscribed to
	space chan struct{} // frames were taken

	mu      sync.Mutex
	rooms   map[ids.RCRoom]*room
	todo    []ids.RCRoom // rooms to catch up with, in this order
	cooled  []ids.RCRoom // rooms to unsubscribe from
	hot     int          // rooms subscribed to, or about to be
	blocked time.Time    // the server refuses subscriptions until then
	woken   bool         // the session gets hints for cold rooms
	frames  []rocketchat.Message
	live    bool
	// stale means that the wanted ephemeral events differ from those subscribed to.
	stale bool
	// overflow means that frames were dropped in this session.
	overflow bool
}

// room is a reader's state of a room.
type room struct {
	last   time.Time // last known activity
	read   time.Time // when it was last caught up with
	due    time.Time // when to try again after a failure
	failed int       // failures in a row
	hot    bool      // subscribed to, in this session
	done   bool      // caught up with, in this session
	queued bool      // in todo
	busy   bool      // being caught up with
	again  bool      // there was activity while busy
}

// add adds a room with the time of its last activity, unless it is already known.
func (r *agenda) add(id ids.RCRoom, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.rooms[id]; !ok {
		r.rooms[id] = &room{last: at}
		r.enqueue(id)
	}
}

// enqueue schedules a room to be caught up. The caller holds r.mu.
func (r *agenda) enqueue(id ids.RCRoom) {
	rm, ok := r.rooms[id]
	switch {
	case !ok:
		return
	case rm.busy:
		rm.again = true
		return
	}
	rm.done = false
	if !rm.queued {
		rm.queued = true
		r.todo = append(r.todo, id)
	}
	signal(r.work)
}

// again schedules a room to be caught up once more in this session.
func (r *agenda) again(id ids.RCRoom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enqueue(id)
}

// againAll is again for every room.
func (r *agenda) againAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.rooms {
		r.enqueue(id)
	}
}

// hint records activity in a room. Rooms that are subscribed to need no hints.
func (r *agenda) hint(id ids.RCRoom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm, ok := r.rooms[id]; ok && !rm.hot {
		rm.last = time.Now()
		r.enqueue(id)
	}
}

// touch records that people are talking in a room.
func (r *agenda) touch(id ids.RCRoom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm, ok := r.rooms[id]; ok {
		rm.last = time.Now()
	}
}

func (r *agenda) remove(id ids.RCRoom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rm, ok := r.rooms[id]
	if !ok {
		return
	}
	delete(r.rooms, id)
	if rm.hot {
		r.hot--
		r.cooled = append(r.cooled, id)
	}
	r.stale = true
	signal(r.news)
}

// newest returns the time of the last activity in any of its rooms.
func (r *agenda) newest() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var at time.Time
	for _, rm := range r.rooms {
		if rm.last.After(at) {
			at = rm.last
		}
	}
	return at
}

func (r *agenda) isLive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

// reset discards the state of a session: every room has to be caught up again.
func (r *agenda) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live, r.frames, r.overflow, r.woken, r.stale = false, nil, false, false, true
	r.hot, r.cooled, r.todo = 0, nil, nil
	for id, rm := range r.rooms {
		*rm = room{last: rm.last, queued: true, failed: rm.failed}
		r.todo = append(r.todo, id)
	}
	slices.SortFunc(r.todo, func(a, b ids.RCRoom) int {
		if c := r.rooms[b].last.Compare(r.rooms[a].last); c != 0 {
			return c
		}
		return strings.Compare(string(a), string(b))
	})
	signal(r.work)
}

func (r *agenda) setLive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = true
}

// take returns the next room to catch up with.
func (r *agenda) take() (ids.RCRoom, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.todo) > 0 {
		id := r.todo[0]
		r.todo = r.todo[1:]
		if rm, ok := r.rooms[id]; ok {
			rm.queued, rm.busy, rm.again = false, true, false
			return id, true
		}
	}
	return "", false
}

// lookAround schedules the rooms that are due: those that failed, and those without
// live updates. It stops at the given number and returns how many it scheduled.
func (r *agenda) lookAround(now time.Time, every time.Duration, most int) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, rm := range r.rooms {
		if n >= most {
			break
		}
		again := !rm.due.IsZero() && now.After(rm.due)
		cold := rm.done && !rm.hot && now.Sub(rm.read) > every
		if (again || cold) && !rm.queued && !rm.busy {
			rm.due = time.Time{}
			r.enqueue(id)
			n++
		}
	}
	return n
}

// cold returns the rooms that are caught up but not subscribed to. The caller holds r.mu.
func (r *agenda) cold() (rooms []ids.RCRoom) {
	for id, rm := range r.rooms {
		if rm.done && !rm.hot {
			rooms = append(rooms, id)
		}
	}
	return rooms
}

// waiting reports whether there is a room to catch up with.
func (r *agenda) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.todo) > 0
}

// vacate gives back a place among the subscribed rooms.
func (r *agenda) vacate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hot--
}

// wantMore records that some wanted events are not subscribed to.
func (r *agenda) wantMore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
