package mxtest

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"appliance/bridge/mxside/mxtest/hermetic"
)

// named are the values of APPLIANCE_TEST_HOMESERVER, with the kind that each stands for.
var named = map[string]string{
	"": Dendrite, Dendrite: Dendrite, Synapse: Synapse,
	"hermetic": Dendrite, "hermetic-dendrite": Dendrite, "hermetic-synapse": Synapse,
}

// Kind is the homeserver that tests of the bridge are to use: what
// APPLIANCE_TEST_HOMESERVER says, else Dendrite. A hermetic one behaves as one of both.
func Kind(tb testing.TB) string {
	tb.Helper()
	value := os.Getenv("APPLIANCE_TEST_HOMESERVER")
	kind := named[value]
	if kind == "" {
		tb.Fatalf("APPLIANCE_TEST_HOMESERVER must be dendrite, synapse, hermetic, hermetic-dendrite or hermetic-synapse (it is %q)", value)
	}
	return kind
}

// Hermetic reports whether homeservers of tests are those of package hermetic: where
// APPLIANCE_TEST_HOMESERVER says so, or says nothing and there is no real one.
func Hermetic() bool {
	value := os.Getenv("APPLIANCE_TEST_HOMESERVER")
	return strings.HasPrefix(value, "hermetic") || value == "" && os.Getenv("APPLIANCE_DENDRITE") == ""
}

// OnlyReal skips a test that is about what a real homeserver does to itself.
func OnlyReal(tb testing.TB, why string) {
	tb.Helper()
	if Hermetic() {
		Skip(tb, why+"; `make test` runs this with real homeservers")
	}
}

// universes are the servers that federate, by test.
var universes sync.Map

// prepareHermetic is New for a hermetic server.
func (s *Server) prepareHermetic() *Server {
	s.ports = [2]int{FreePort(s.tb), FreePort(s.tb)}
	s.Name = "localhost:" + strconv.Itoa(s.ports[1]) // nobody listens there
	s.URL = "http://localhost:" + strconv.Itoa(s.ports[0])
	traits := hermetic.Dendrite()
	if s.Kind == Synapse {
		traits = hermetic.Synapse()
	}
	u, known := universes.LoadOrStore(s.tb, hermetic.NewUniverse())
	if !known {
		s.tb.Cleanup(func() { universes.Delete(s.tb) })
	}
	universe, _ := u.(*hermetic.Universe)
	s.hermetic = universe.NewServer(hermetic.Options{
		Name: s.Name, Address: "127.0.0.1:" + strconv.Itoa(s.ports[0]), Traits: traits, UploadLimit: UploadLimit, Secret: sharedSecret,
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
