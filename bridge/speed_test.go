package bridge_test

import (
	"fmt"
	"testing"
	"time"
)

// What is written in one room of Matrix at 15 messages a second arrives as fast in a
// Rocket.Chat that takes 55 ms for each, although each waits for the one before it;
// and several rooms are delivered at once.
func TestMessagesFromMatrixKeepUp(t *testing.T) {
	const perRoom, each = 90, 55 * time.Millisecond
	for _, rooms := range []int{1, 8} {
		t.Run(fmt.Sprintf("rooms=%d", rooms), func(t *testing.T) {
			in := newInstant(t)
			in.slow = each
			url := in.start(t, rooms, 0)
			in.push(t, url, []string{matrixEvent(0, "$first")})
			in.wait(t, 1)
			var events []string
			for n := range perRoom {
				for room := range rooms {
					events = append(events, matrixEvent(room, fmt.Sprintf("$e%d-%d", room, n)))
				}
			}
			// In one transaction: soon after a start the bridge looks what came before each.
			in.push(t, url, events)
			start := time.Now()
			in.wait(t, perRoom*rooms)
			took := time.Since(start)
			t.Logf("%.1f messages a second in each of %d rooms: %s of our own for each", perRoom/took.Seconds(), rooms, took/perRoom-each)
			least := 15.0
			if rooms > 1 {
				least = 60 // one after the other it would be 18
			}
			if rate := perRoom * float64(rooms) / took.Seconds(); rate < least {
				t.Errorf("%.1f messages a second in %d rooms", rate, rooms)
			}
		})
	}
}
