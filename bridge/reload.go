package bridge

import (
	"net/http"
	"sync"
	"time"

	"appliance/bridge/config"
)

// reloads serialises the reloads of this process: the file is watched, and the operator
// may request one.
type reloads struct {
	mu   sync.Mutex
	last Reloaded // the last one that changed something
}

// when returns the time of the last reload that changed something.
func (r *reloads) when() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.At
}

// Reloaded is the response of POST /reload.
type Reloaded struct {
	// Error is why the file is not in force, or "".
	Error string `json:"error,omitempty"`
	// Changed are the keys changed by the last reload that changed any, and At is its
	// time, zero if there was none since the bridge started.
	Changed []string  `json:"changed"`
	At      time.Time `json:"at,omitzero"`
}

// reload puts a changed file in force, or keeps the current configuration and logs why.
func (s *service) reload() {
	s.reloads.mu.Lock()
	defer s.reloads.mu.Unlock()
	cur := *s.current.Load()
	next, err := config.Load(s.ConfigFile)
	if err == nil {
		changed := config.ChangedLive(cur, next)
		if cur.Live, err = config.Reload(cur, next); err == nil {
			corrected := s.refused.Load() != nil
			s.put(cur)
			switch {
			case len(changed) > 0:
				s.reloads.last = Reloaded{Changed: changed, At: time.Now().UTC()}
				s.Log.Info("the configuration was reloaded", "changed", changed)
				s.relay.Wake()
				s.relay.Follow()
			case corrected:
				s.Log.Info("the configuration file matches the running configuration again")
			}
			s.metrics.Reloaded(true)
			return
		}
	}
	why := err.Error()
	if old := s.refused.Swap(&why); old == nil || *old != why {
		s.Log.Error("the configuration was not reloaded: nothing has changed", "err", why)
	}
	s.metrics.Reloaded(false)
}

// reloadNow reloads and responds with the result.
func (s *service) reloadNow(w http.ResponseWriter, _ *http.Request) {
	s.reload()
	s.reloads.mu.Lock()
	out := s.reloads.last
	s.reloads.mu.Unlock()
	out.Changed = append([]string{}, out.Changed...)
	if why := s.refused.Load(); why != nil {
		out.Error = *why
	}
	answerJSON(w, out)
}
