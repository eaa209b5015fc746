package queue

import (
	"strings"
	"sync"
	"time"
)

const (
	// outageAfter is how long nothing may have been delivered in a direction when a
	// failure is one of a side that is down. A room that fails by itself, while others
	// go on, is not hastened.
	outageAfter = 2 * time.Second
	// hastenEvery is how long lanes wait for themselves after they were hastened: an item
	// that asks nothing of the far side is delivered although that is down.
	hastenEvery = 10 * time.Second
	// maxPutOff bounds the lanes that are remembered. Those beyond wait for their own turn.
	maxPutOff = 10_000
)

// outages remembers the lanes that wait because a far side did not answer, by the direction
// in which they deliver. Each waits for itself; the first delivery that succeeds again has
// all others take their turn at once.
type outages struct {
	mu          sync.Mutex
	byDirection map[string]*outage
}

type outage struct {
	delivered time.Time // when something last was
	hastened  time.Time
	down      bool
	putOff    map[string]bool // lanes
}

// direction returns the part of a lane's name before its first colon, which says which side
// its items come from.
func direction(lane string) string {
	from, _, _ := strings.Cut(lane, ":")
	return from
}

func (o *outages) of(lane string) *outage {
	if o.byDirection == nil {
		o.byDirection = map[string]*outage{}
	}
	of := o.byDirection[direction(lane)]
	if of == nil {
		of = &outage{putOff: map[string]bool{}}
		o.byDirection[direction(lane)] = of
	}
	return of
}

// failed notes that a lane waits because the far side did not answer.
func (o *outages) failed(lane string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.of(lane)
	of.down = of.down || now.Sub(of.delivered) >= outageAfter
	if len(of.putOff) < maxPutOff {
		of.putOff[lane] = true
	}
}

// delivered notes a delivery, and returns the lanes that need not wait any longer.
func (o *outages) delivered(lane string, now time.Time) (lanes []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.of(lane)
	of.delivered = now
	delete(of.putOff, lane)
	if !of.down || now.Sub(of.hastened) < hastenEvery {
		return nil
	}
	for l := range of.putOff {
		lanes = append(lanes, l)
	}
	of.down, of.hastened = false, now
	clear(of.putOff)
	return lanes
}
