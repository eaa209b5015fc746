package mxtest

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/config"
	"appliance/bridge/mxside"
	"appliance/bridge/mxside/mxtest/hermetic"
)

// The kinds of homeserver, as the bridge is told.
const (
	Dendrite = config.Dendrite
	Synapse  = config.Synapse
	// Generic is a homeserver of which the bridge knows nothing but the specification.
	// The real one is Synapse; the hermetic one follows the specification.
	Generic = config.Generic
)

// Software is the program that runs as a homeserver of some kind, with what tests have
// to know about it beyond the traits that the bridge knows.
type Software struct {
	Kind string // as bridge.yaml names it in production
	// Template is the appliance's own configuration for it, a file of package templates.
	Template string
	// ShortNames: a display name of more than 256 characters is refused.
	ShortNames bool
	// RefusesDeepEvents: an event that is nested thousands of levels deep is refused.
	RefusesDeepEvents bool
	// Pings: the homeserver can be asked whether it reaches the bridge.
	Pings bool
	// LosesPast: GET /messages fails where a page reaches beyond what the server has.
	LosesPast bool

	run      runner
	hermetic hermetic.Traits // of its stand-in
}

var (
	dendriteSoftware = Software{
		Kind: Dendrite, Template: "dendrite.yaml.tmpl", LosesPast: true, run: dendrite{}, hermetic: hermetic.Dendrite(),
	}
	synapseSoftware = Software{
		Kind: Synapse, Template: "homeserver.yaml.tmpl", ShortNames: true, RefusesDeepEvents: true, Pings: true, run: synapse{}, hermetic: hermetic.Synapse(),
	}
)

// SoftwareOf returns what runs as a homeserver of a kind.
func SoftwareOf(kind string) Software {
	return map[string]Software{Dendrite: dendriteSoftware, Synapse: synapseSoftware, Generic: genericSoftware()}[kind]
}

// genericSoftware is Synapse, without the bridge being told.
func genericSoftware() Software {
	s := synapseSoftware
	s.hermetic = hermetic.Generic()
	return s
}

// named maps the values of APPLIANCE_TEST_HOMESERVER to the kinds they stand for.
var named = map[string]string{
	"": Dendrite, Dendrite: Dendrite, Synapse: Synapse, Generic: Generic,
	"hermetic": Dendrite, "hermetic-dendrite": Dendrite, "hermetic-synapse": Synapse, "hermetic-generic": Generic,
}

// Kind returns the homeserver that tests of the bridge should use: the value of
// APPLIANCE_TEST_HOMESERVER, or else Dendrite.
func Kind(tb testing.TB) string {
	tb.Helper()
	value := os.Getenv("APPLIANCE_TEST_HOMESERVER")
	kind := named[value]
	if kind == "" {
		tb.Fatalf("APPLIANCE_TEST_HOMESERVER must be one of %s (it is %q)", strings.Join(slices.Sorted(maps.Keys(named))[1:], ", "), value)
	}
	return kind
}

// Traits returns what the bridge knows about the homeserver that tests should use.
func Traits(tb testing.TB) mxside.Traits {
	tb.Helper()
	return TraitsOf(tb, Kind(tb))
}

// TraitsOf returns what the bridge knows about a kind of homeserver.
func TraitsOf(tb testing.TB, kind string) mxside.Traits {
	tb.Helper()
	traits, err := mxside.TraitsOf(kind)
	if err != nil {
		tb.Fatal(err)
	}
	return traits
}

// Misbehaves returns the traits of the running software, whether the bridge knows them or not.
func (s *Server) Misbehaves() mxside.Traits {
	s.tb.Helper()
	kind := s.Software.Kind
	if s.hermetic != nil {
		kind = s.Kind // a stand-in has the traits of its kind
	}
	return TraitsOf(s.tb, kind)
}

// Hermetic reports whether test homeservers are those of package hermetic: if
// APPLIANCE_TEST_HOMESERVER says so, or if it is empty and there is no real one.
func Hermetic() bool {
	value := os.Getenv("APPLIANCE_TEST_HOMESERVER")
	return strings.HasPrefix(value, "hermetic") || value == "" && os.Getenv("APPLIANCE_DENDRITE") == ""
}
