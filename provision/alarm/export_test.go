package alarm

import (
	"testing"
	"time"
)

// Hurry shortens the time that one way may take.
func Hurry(t *testing.T, to time.Duration) {
	was := limit
	limit = to
	t.Cleanup(func() { limit = was })
}
