package console

import (
	"context"
	"sync"
	"time"
)

// stateFor is how long a State is shared between viewers.
const stateFor = 2 * time.Second

// sharedState fetches the state once for all who look at the same time.
type sharedState struct {
	bridge Bridge
	mu     sync.Mutex
	state  State
	until  time.Time
}

func (s *sharedState) get(ctx context.Context) (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.until) {
		return s.state, nil
	}
	now, err := s.bridge.State(ctx)
	if err == nil {
		s.state, s.until = now, time.Now().Add(stateFor)
	}
	return now, err
}
