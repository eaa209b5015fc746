package rcside

import "appliance/bridge/relay"

// Unwatch implements relay.RocketChat.
func (s *Side) Unwatch(p relay.Portal) {
	s.mu.Lock()
	delete(s.watching, p.RCRoom)
	s.mu.Unlock()
	s.reader(p.RCReader).remove(p.RCRoom)
}
