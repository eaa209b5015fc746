package rcside

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

const (
	// maxBatch is how many live messages are stored in one transaction.
	maxBatch = 200
	// maxFrames is how many live messages may wait in memory: beyond it nothing is
	// read, and after heldUp the session is begun again and catches up.
	maxFrames = 20000
	heldUp    = 5 * time.Second
)

// A reader reads rooms as one account. Where it has a session, the rooms that
// talk are subscribed to ("hot"): what is said there arrives in its order. Of the
// others ("cold") the session only hears that something has happened, in no
// order, and they are read over REST then. What is subscribed to makes it fast;
// REST and the cursors make it right, for both.
type reader struct {
	side    *Side
	account ids.MXUser    // whose, "" for the bridge account
	more    chan struct{} // there is a frame to store
	work    chan struct{} // there is a room to catch up with
	news    chan struct{} // other ephemeral events are wanted than are subscribed to
	space   chan struct{} // some frames were taken
	budget  *rate.Limiter // of subscriptions

	// With Side.mu: stop ends the session, nil when there is none; leaving says
	// that it was stopped; used is when it was last of use; queued says that it
	// waits to be read over REST.
	stop            func()
	leaving, queued bool
	used            time.Time

	turn sync.Mutex // held by what reads: the session, or a pass over REST

	mu      sync.Mutex
	rooms   map[ids.RCRoom]*room
	todo    []ids.RCRoom // rooms to catch up with, in this order
	cooled  []ids.RCRoom // rooms whose subscriptions are to end
	hot     int          // rooms that are subscribed to, or about to be
	blocked time.Time    // until when the server takes no subscriptions
	woken   bool         // the session hears of cold rooms
	frames  []rocketchat.Message
	live    bool
	// stale says that other ephemeral events are wanted than are subscribed to.
	stale bool
	// overflow says that frames were dropped in this session.
	overflow bool
}

// room is what a reader knows of a room.
type room struct {
	last   time.Time // when something last happened, as far as is known
	read   time.Time // when it was last caught up with
	due    time.Time // when to try again after a failure
	failed int       // failures in a row
	hot    bool      // subscribed to, in this session
	done   bool      // caught up with, in this session
	queued bool      // in todo
	busy   bool      // being caught up with
	again  bool      // something happened while busy
}

func newReader(s *Side, account ids.MXUser) *reader {
	return &reader{
		side: s, account: account, rooms: map[ids.RCRoom]*room{}, budget: rate.NewLimiter(subsPerSecond, subsAtOnce),
		more: make(chan struct{}, 1), work: make(chan struct{}, 1), news: make(chan struct{}, 1), space: make(chan struct{}, 1),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add takes a room, in which something last happened at a time.
func (r *reader) add(id ids.RCRoom, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.rooms[id]; !ok {
		r.rooms[id] = &room{last: at}
		r.enqueue(id)
	}
}

// enqueue makes a room be caught up with. It is called under r.mu.
func (r *reader) enqueue(id ids.RCRoom) {
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

// again makes a room be caught up with once more in this session.
func (r *reader) again(id ids.RCRoom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enqueue(id)
}

// againAll is again for every room.
func (r *reader) againAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.rooms {
		r.enqueue(id)
	}
}

// hint takes that something has happened in a room. What is subscribed to needs
// no hints.
func (r *reader) hint(id ids.RCRoom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm, ok := r.rooms[id]; ok && !rm.hot {
		rm.last = time.Now()
		r.enqueue(id)
	}
}

// touch notes that people talk in a room.
func (r *reader) touch(id ids.RCRoom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm, ok := r.rooms[id]; ok {
		rm.last = time.Now()
	}
}

func (r *reader) remove(id ids.RCRoom) {
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

// newest returns when something last happened in any of its rooms.
func (r *reader) newest() time.Time {
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

func (r *reader) isLive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

// reset forgets what belonged to a session: every room has to be caught up with.
func (r *reader) reset() {
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

func (r *reader) setLive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = true
}

// event takes a frame of the websocket. Frames of a room that is not caught up
// yet wait: what happened before them comes first.
func (r *reader) event(ctx context.Context, e ddp.Event) {
	if len(e.Args) == 0 || r.ephemeral(e) || r.wake(e) {
		return
	}
	if room, bulk := strings.CutSuffix(e.Name, "/deleteMessageBulk"); bulk && e.Stream == "stream-notify-room" {
		r.again(ids.RCRoom(room)) // which ones they were is asked for
		return
	}
	var m rocketchat.Message
	if err := json.Unmarshal(e.Args[0], &m); err != nil || m.ID == "" {
		return
	}
	switch room, deleted := strings.CutSuffix(e.Name, "/deleteMessage"); {
	case e.Stream == "stream-room-messages":
	case e.Stream == "stream-notify-room" && deleted:
		m = event.Deleted(room, m.ID).Message
	default:
		return
	}
	r.put(ctx, m)
	signal(r.more)
}

// wake takes a frame that says only that something has happened in a room that
// is not subscribed to. It reports whether it was one.
func (r *reader) wake(e ddp.Event) bool {
	var about struct {
		ID   ids.RCRoom `json:"_id"`
		Room ids.RCRoom `json:"rid"`
	}
	switch {
	case e.Stream == "stream-room-messages" && e.Name == everyMessage:
		if json.Unmarshal(e.Args[0], &about) == nil {
			r.hint(about.Room)
		}
	case e.Stream == "stream-notify-user" && strings.HasSuffix(e.Name, roomsChanged):
		if len(e.Args) > 1 && json.Unmarshal(e.Args[1], &about) == nil {
			r.hint(about.ID)
		}
	default:
		return false
	}
	return true
}

// put keeps a live message until it is stored. If too many wait, nothing more is
// read from the connection for a while, which holds up the server; if that does
// not help, because rooms are being caught up with, the session has to begin again.
func (r *reader) put(ctx context.Context, m rocketchat.Message) {
	var late <-chan time.Time
	for {
		r.mu.Lock()
		rm, known := r.rooms[ids.RCRoom(m.RoomID)]
		if !known {
			r.mu.Unlock()
			return // no portal any more
		}
		if full := len(r.frames) >= maxFrames; !full {
			r.frames = append(r.frames, m)
			rm.last = time.Now()
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if late == nil {
			late = time.After(heldUp)
		}
		select {
		case <-r.space:
			continue
		case <-ctx.Done():
		case <-late:
		}
		r.mu.Lock()
		r.overflow = true
		r.mu.Unlock()
		signal(r.more)
		return
	}
}

// flush stores the live frames of the rooms that are caught up.
func (r *reader) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		if r.overflow {
			r.mu.Unlock()
			return errors.New("more arrived than could be stored")
		}
		batch := r.ready()
		r.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := r.side.store(ctx, batch); err != nil {
			return err
		}
	}
}

// ready takes frames of rooms that are caught up; the others wait. It is called
// under r.mu.
func (r *reader) ready() []rocketchat.Message {
	var batch, wait []rocketchat.Message
	n := 0
	for ; n < len(r.frames) && len(batch) < maxBatch; n++ {
		m := r.frames[n]
		if rm, known := r.rooms[ids.RCRoom(m.RoomID)]; !known || rm.done {
			batch = append(batch, m)
		} else {
			wait = append(wait, m)
		}
	}
	clear(r.frames[:n-len(wait)])
	copy(r.frames[n-len(wait):], wait)
	r.frames = r.frames[n-len(wait):]
	if len(batch) > 0 {
		signal(r.space)
	}
	return batch
}
