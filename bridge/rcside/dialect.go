package rcside

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/convert"
)

// speechFor is how long a server is believed to speak a dialect: it speaks another
// after an upgrade.
const speechFor = 5 * time.Minute

// A speech is the dialect that the server was last found to speak. It is safe for
// concurrent use; while one asks, the others wait.
type speech struct {
	mu      sync.Mutex
	dialect convert.Dialect
	until   time.Time
}

// Dialect implements relay.RocketChat. While the server does not answer, it is
// believed to speak what it spoke before.
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
