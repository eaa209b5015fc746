package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"appliance/bridge/queue"
)

// A lane that always has items would stay with its process for good, and a process that
// starts later would have nothing to do. So a process with more than its share gives
// lanes away: first those that their names assign to another process, which takes them at
// once, then others, which it does not take back for a while.

// freshFor is how recently every process must have reported that it is alive before lanes
// are given away: lanes would wait for one that was suspended.
const freshFor = 2 * renewEvery

// leftFor is how long a process does not take back a lane that it gave away.
const leftFor = ownTurn + 2*lookEvery

// lanesInUse counts the processes that recently reported that they are alive, the lanes
// in use and those of this process. It lists the latter, with those assigned to another
// process first.
const lanesInUse = `SELECT (SELECT COUNT(*) FROM replicas WHERE until > ` + dbNow + ` + $5::bigint),
	COUNT(*), COUNT(*) FILTER (WHERE owner = $1),
	COALESCE(json_agg(lane ORDER BY mod(abs(hashtext(lane)::bigint), $2) = $3, lane) FILTER (WHERE owner = $1), '[]')
	FROM lanes WHERE waiting > 0 AND held > ` + dbNow + ` AND (right(lane, 6) = ':files') = $4`

// share marks the lanes that this process should give away.
func (k *renewer) share(ctx context.Context) error {
	k.s.mu.Lock()
	of, place := k.replicas, k.place
	k.s.mu.Unlock()
	if of < 2 {
		return nil
	}
	for class := range queue.Class(queue.Classes) {
		var fresh, all, mine int
		var text []byte
		err := k.s.queryRow(ctx, lanesInUse, k.owner, of, place, class == queue.Files, (leaseFor-freshFor).Milliseconds()).Scan(&fresh, &all, &mine, &text)
		if err != nil {
			return err
		}
		var lanes []string
		if err := json.Unmarshal(text, &lanes); err != nil {
			return err
		}
		if fresh == of {
			k.mark(lanes, mine-(all+of-1)/of)
		}
	}
	return nil
}

// mark marks up to n lanes to be given away when none of their items is being delivered.
func (k *renewer) mark(lanes []string, n int) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for _, lane := range lanes {
		if l := k.held[lane]; l != nil && n > 0 && l.certain() {
			l.leaves = true
			n--
		}
	}
}

// certain reports whether the database knows as much about the lane's items as this
// process does. For a lane that was taken over it does not, for a while; see shared.
func (l *heldLane) certain() bool {
	return l.doubt == 0 && !slices.ContainsFunc(l.items, func(a atHand) bool { return a.item.Attempts > 0 })
}

// leaving removes and returns the lanes to give away, once the outcome of their last
// delivery is stored: that would be impossible after the lease has ended.
func (k *renewer) leaving() []*heldLane {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	var out []*heldLane
	storing := k.s.storing()
	for name, l := range k.held {
		if l.leaves && !l.busy && !storing[name] {
			delete(k.held, name)
			k.left[name] = time.Now().Add(leftFor)
			out = append(out, l)
		}
	}
	return out
}

// stayAway returns the lanes that this process gave away recently. The caller holds
// writer.mu.
func (k *holder) stayAway() []string {
	names := []string{}
	for name, until := range k.left {
		if time.Now().After(until) {
			delete(k.left, name)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// giveAway gives marked lanes back and notifies the other processes. Lanes it could not
// give back are taken again when their leases have ended.
func (k *renewer) giveAway(ctx context.Context) error {
	lanes := k.leaving()
	if len(lanes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dbPatience)
	defer cancel()
	free, err := k.free(ctx, names(lanes), `FOR UPDATE`)
	if err != nil {
		return fmt.Errorf("give lanes away: %w", err)
	}
	for lane := range free {
		k.news.say(topicLanes, lane)
	}
	k.log.Debug("handed over lanes", "lanes", len(free))
	return nil
}

// parts triggers giveAway as soon as the delivered items of a lane are stored.
func (k *holder) parts(lane string) {
	k.s.await(func(l *leaving) bool { return l.lane == lane })
	select {
	case k.parting <- struct{}{}:
	default:
	}
}
