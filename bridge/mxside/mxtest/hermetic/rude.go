package hermetic

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
)

// mood decides, by seed, when a rude server is rude. A nil mood is polite.
type mood struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newMood(seed uint64) *mood {
	if seed == 0 {
		return nil
	}
	return &mood{r: rand.New(rand.NewPCG(seed, seed))} //nolint:gosec // it is to repeat itself
}

// chance returns true in one of n cases.
func (m *mood) chance(n int) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.r.IntN(n) == 0
}

// refuses answers some requests of the application service with 429 and a number of
// milliseconds to wait. (Homeservers exempt application services in general, but not
// everywhere.)
func (m *mood) refuses(q *request) (wait int, refused bool) {
	if q.service == nil || !m.chance(6) {
		return 0, false
	}
	return 20, true
}

// hangsUp drops some connections after the work is done.
func (m *mood) hangsUp(q *request) bool {
	return q.service != nil && q.Method != http.MethodGet && !strings.HasSuffix(q.URL.Path, "/ping") && m.chance(8)
}

// forgets now and then forgets a client's transaction, as a restarted Dendrite does. Only
// messages: for reactions and redactions the bridge has no other way to find out whether
// they are there.
func (m *mood) forgets(q *request) bool {
	return strings.Contains(q.URL.Path, "/send/m.room.message/") && m.chance(4)
}

// repeats resends a transaction that was accepted.
func (m *mood) repeats() bool { return m.chance(3) }
