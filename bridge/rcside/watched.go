package rcside

import (
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// watched holds the portals whose rooms are read.
type watched struct {
	mu       sync.Mutex
	watching map[ids.RCRoom]model.Portal
}

// portal returns the portal of a watched room.
func (s *watched) portal(room ids.RCRoom) (model.Portal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.watching[room]
	return p, ok
}

// begun returns when the portal of a room began: earlier messages do not cross.
func (s *watched) begun(room ids.RCRoom) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watching[room].Created
}

// remember adds a portal of an earlier run, unless the room already has one.
func (s *watched) remember(p model.Portal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.watching[p.RCRoom]; !newer {
		s.watching[p.RCRoom] = p
	}
}

// replace sets the portal of a room and returns the previous one.
func (s *watched) replace(p model.Portal) (old model.Portal, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known = s.watching[p.RCRoom]
	s.watching[p.RCRoom] = p
	return old, known
}

// forget stops watching a room.
func (s *watched) forget(p model.Portal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watching, p.RCRoom)
}

// except returns the portals of all other rooms.
func (s *watched) except(rooms map[ids.RCRoom]bool) []model.Portal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []model.Portal
	for room, p := range s.watching {
		if !rooms[room] {
			others = append(others, p)
		}
	}
	return others
}
