// Package pause computes how long to wait before retrying something that failed. It does
// not know what is retried; both sides of the bridge use it for their connections.
package pause

import (
	"math/rand/v2"
	"time"
)

// After returns the pause after that many failures in a row, one or more: shortest after
// the first, doubling with each further one, never above longest. Many waiters that
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

// Spread returns a random pause between half and one and a half times the given one, so
// that many that failed together do not all retry together. The given pause must be above
// zero.
func Spread(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause) //nolint:gosec // nothing secret depends on it
}
