package bridge_test

import (
	"fmt"
	"testing"
	"time"

	"appliance/bridge/mustrun"
)

// Messages written in one Matrix room at 15 per second arrive as fast in a Rocket.Chat that takes 55 ms for
// each (asserted at full size), although each waits for the one before it; and several rooms are delivered
// at once.
func TestMessagesFromMatrixKeepUp(t *testing.T) {
	const each = 55 * time.Millisecond
	perRoom := mustrun.Sized(90, 20)
	rates := map[int]float64{}
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
			// In one transaction: soon after a start the bridge checks what came before each.
			in.push(t, url, events)
			start := time.Now()
			in.wait(t, perRoom*rooms)
			took := time.Since(start)
			t.Logf("%.1f messages a second in each of %d rooms: %s of our own for each", float64(perRoom)/took.Seconds(), rooms, took/time.Duration(perRoom)-each)
			least := 15.0
			if rooms > 1 {
				least = 60 // one after the other it would be 18
			}
			rates[rooms] = float64(perRoom*rooms) / took.Seconds()
			if mustrun.Full && rates[rooms] < least {
				t.Errorf("%.1f messages a second in %d rooms", rates[rooms], rooms)
			}
		})
	}
	if rates[8] < 2*rates[1] {
		t.Errorf("%.1f messages a second in eight rooms, %.1f in one: they wait for each other", rates[8], rates[1])
	}
}
