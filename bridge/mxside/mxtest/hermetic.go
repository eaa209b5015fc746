package mxtest

import (
	"strconv"
	"sync"

	"appliance/bridge/mxside/mxtest/hermetic"
)

// universes holds the federating servers, by test.
var universes sync.Map

// prepareHermetic is New for a hermetic server.
func (s *Server) prepareHermetic() *Server {
	s.ports = [2]int{FreePort(s.tb), FreePort(s.tb)}
	s.Name = "localhost:" + strconv.Itoa(s.ports[1]) // nobody listens there
	s.URL = "http://localhost:" + strconv.Itoa(s.ports[0])
	u, known := universes.LoadOrStore(s.tb, hermetic.NewUniverse())
	if !known {
		s.tb.Cleanup(func() { universes.Delete(s.tb) })
	}
	universe, _ := u.(*hermetic.Universe)
	s.hermetic = universe.NewServer(hermetic.Options{
		Name: s.Name, Address: "127.0.0.1:" + strconv.Itoa(s.ports[0]), Traits: s.Software.hermetic, UploadLimit: UploadLimit, Secret: sharedSecret,
	})
	s.tb.Cleanup(s.Kill)
	return s
}

// startHermetic is Start for a hermetic server.
func (s *Server) startHermetic(registration string) *Server {
	s.tb.Helper()
	s.hermetic.Configure(s.RoomVersion, s.Rude)
	if err := s.hermetic.Serve(registration); err != nil {
		s.tb.Fatal(err)
	}
	s.Launch()
	return s
}

// SkipNext makes a hermetic server reject the next message from another server, and returns
// a function that ends that; see hermetic.Server.SkipNext.
func (s *Server) SkipNext() (end func()) {
	s.tb.Helper()
	if s.hermetic == nil {
		s.tb.Fatal("a real homeserver rejects nothing at will")
	}
	s.hermetic.SkipNext()
	return s.hermetic.Recover
}
