package bridge

import (
	"net/http"
	"sync"
	"time"

	"appliance/bridge/config"
)

// reloads are the reloads of this process. One happens at a time: the file is watched,
// and the operator may ask for one.
type reloads struct {
	mu   sync.Mutex
	last Reloaded // the last one that has changed something
}

// when returns when a reload has last changed something.
func (r *reloads) when() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.At
}

// Reloaded is what POST /reload answers.
type Reloaded struct {
	// Error is why the file is not in force; "" when it is.
	Error string `json:"error,omitempty"`
	// Changed are the keys that the last reload has changed, and At is when; none since
	// the bridge was started when it is zero.
	Changed []string  `json:"changed"`
	At      time.Time `json:"at,omitzero"`
}

// reload puts a changed file in force, or keeps what is and says why.
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
				s.Log.Info("the configuration file is in force again")
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

// reloadNow reloads and answers what has come of it.
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
