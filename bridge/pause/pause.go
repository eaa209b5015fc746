// Package pause says how long to wait before trying again what failed. It knows nothing
// of what is tried; both sides of the bridge use it for their connections.
package pause

import (
	"math/rand/v2"
	"time"
)

// After returns the pause after that many failures in a row, one or more: shortest after
// the first, twice as long after each further one, never above longest. Many waiters that
// failed at the same time should spread it, see Spread.
func After(failures int, shortest, longest time.Duration) time.Duration {
	grown := min(shortest, longest)
	for range min(failures-1, 63) {
		if grown > longest/2 {
			return longest
		}
		grown *= 2
	}
	return grown
}

// Spread returns a pause from a half to one and a half of the given one, at random, so
// that many who failed together do not all come back together. The given pause is above
// zero.
func Spread(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause) //nolint:gosec // nothing secret depends on it
}
