package rcside

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/convert"
)

// speechFor is how long the dialect of a server is cached: an upgrade can change it.
const speechFor = 5 * time.Minute

// A speech is the dialect that the server was last found to speak. It is safe for
// concurrent use; while one caller requests it, the others wait.
type speech struct {
	mu      sync.Mutex
	dialect convert.Dialect
	until   time.Time
}

// Dialect implements relay.RocketChat. While the server does not respond, the last
// known dialect is used.
func (s *server) Dialect(ctx context.Context) convert.Dialect {
	s.speech.mu.Lock()
	defer s.speech.mu.Unlock()
	if time.Now().Before(s.speech.until) {
		return s.speech.dialect
	}
	if info, err := s.client.Info(ctx); err == nil {
		s.speech.dialect, s.speech.until = convert.DialectFor(info.Version), time.Now().Add(speechFor)
	}
	return s.speech.dialect
}
