package queue

import (
	"strings"
	"sync"
	"time"
)

const (
	// outageAfter is the time without deliveries in one direction after which a failure
	// means that the far side is down. A room that fails on its own, while others
	// succeed, is not hastened.
	outageAfter = 2 * time.Second
	// hastenEvery is the minimum time between hastenings: an item that needs nothing from
	// the far side is delivered even while that side is down.
	hastenEvery = 10 * time.Second
	// maxPutOff bounds the lanes that are remembered. Any others wait for their own turn.
	maxPutOff = 10_000
)

// outages remembers the lanes that wait because a far side did not answer, by the
// direction in which they deliver. Each waits on its own; the next successful delivery
// brings forward the turns of all the others.
type outages struct {
	mu          sync.Mutex
	byDirection map[string]*outage
}

type outage struct {
	delivered time.Time // time of the last delivery
	hastened  time.Time
	down      bool
	putOff    map[string]bool // lanes
}

// direction returns the part of a lane's name before its first colon: the side that its
// items come from.
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

// failed records that a lane waits because the far side did not answer.
func (o *outages) failed(lane string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.of(lane)
	of.down = of.down || now.Sub(of.delivered) >= outageAfter
	if len(of.putOff) < maxPutOff {
		of.putOff[lane] = true
	}
}

// delivered records a delivery, and returns the lanes that no longer need to wait.
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
