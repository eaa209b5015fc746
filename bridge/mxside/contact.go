package mxside

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/ids"
)

// maxNudges bounds how often a room is nudged after an absence; see history.nudge.
const maxNudges = 10

// contact tracks whether the homeserver is reachable, and whether its transactions may
// be out of order. Methods are safe for concurrent use.
type contact struct {
	doubtFor   time.Duration // see Traits.Disorder; never changes
	team       *team
	mu         sync.Mutex
	live       bool
	doubtUntil time.Time
	// nudged counts the nudges of each room since the last absence.
	nudged map[ids.MXRoom]int
}

func newContact(disorder time.Duration, t *team) *contact {
	c := &contact{doubtFor: disorder, team: t, doubtUntil: time.Now().Add(disorder), nudged: map[ids.MXRoom]int{}}
	return c
}

// lost notes that the homeserver is unreachable. From now on transactions may come out of order.
func (c *contact) lost() {
	c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live, c.doubtUntil, c.nudged = false, time.Now().Add(c.doubtFor), map[ids.MXRoom]int{}
}

// overtook starts a period of doubt while the homeserver is reachable.
func (c *contact) overtook() {
	c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubtUntil = time.Now().Add(c.doubtFor)
}

// broke notes that the homeserver has closed a connection that was in use. It may have been
// killed and be back already.
func (c *contact) broke() {
	c.mu.Lock()
	known := time.Until(c.doubtUntil) > c.doubtFor-time.Second
	c.mu.Unlock()
	if !known {
		c.overtook()
	}
}

// answered notes that the homeserver is reachable. The period of doubt runs from
// the first response after an absence.
func (c *contact) answered() {
	if !c.Connected() {
		c.tell()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.live {
		c.live, c.doubtUntil = true, time.Now().Add(c.doubtFor)
	}
}

// tell makes the other processes doubt the order of transactions too.
func (c *contact) tell() {
	if c.team.leading() {
		c.team.doubt(c.doubtFor)
	}
}

// doubted reports whether transactions may be out of order.
func (c *contact) doubted(ctx context.Context) bool {
	c.mu.Lock()
	doubt := time.Now().Before(c.doubtUntil)
	c.mu.Unlock()
	return doubt || c.doubtFor > 0 && c.team.doubted(ctx)
}

// Connected reports whether the homeserver responds.
func (c *contact) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// nudges notes that a room was nudged n times.
func (c *contact) nudges(room ids.MXRoom, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nudged[room] += n
}

// mayNudge reports whether a room may be nudged once more, and counts it.
func (c *contact) mayNudge(room ids.MXRoom) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().After(c.doubtUntil) || c.nudged[room] >= maxNudges {
		return false
	}
	c.nudged[room]++
	return true
}
