package store

import "appliance/bridge/queue"

// Die ends a store as the death of its process would: nothing is given back.
func (s *Store) Die() {
	if k, ok := s.keeper.(*shared); ok {
		k.end()
		k.running.Wait()
		k.end = nil
	}
	_ = s.Close()
}

// Pause stops what a store does by itself, as SIGSTOP would: leases are not renewed and
// nothing is heard.
func (s *Store) Pause() {
	if k, ok := s.keeper.(*shared); ok {
		k.end()
		k.running.Wait()
	}
}

// LookNow makes the next claim look for free lanes.
func (s *Store) LookNow() {
	k, ok := s.keeper.(*shared)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for class := range queue.Classes {
		k.dirty[class] = true
	}
}
