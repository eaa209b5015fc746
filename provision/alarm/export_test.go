package alarm

import (
	"testing"
	"time"
)

// Hurry shortens the time limit of one way for a test.
func Hurry(t *testing.T, to time.Duration) {
	was := limit
	limit = to
	t.Cleanup(func() { limit = was })
}
