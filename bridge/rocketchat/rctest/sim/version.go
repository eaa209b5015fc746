package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DefaultVersion is the version that an Engine simulates unless it is told another.
const DefaultVersion = "8.6"

// A release is one version of Rocket.Chat as far as it differs from the others
// that the simulator knows. Each field is one habit; what all of them share is in
// the handlers. What 7.2 and 8.3 do was recorded from genuine servers; what 8.6
// does and 8.3 does not is read in its source and changelog.
type release struct {
	version string // all three numbers, as /api/info tells administrators
}

// releases is the one table of what depends on the version, by major.minor.
var releases = map[string]release{
	"7.2": {version: "7.2.0"},
	"8.3": {version: "8.3.0"},
	"8.6": {version: "8.6.1"},
}

// Versions lists what an Engine can be told to simulate, oldest first.
func Versions() []string { return slices.Sorted(maps.Keys(releases)) }

// releaseOf finds what version names: "" is the default, "8.6" and "8.6.1" are
// the same.
func releaseOf(version string) (release, error) {
	if version == "" {
		version = DefaultVersion
	}
	for short, r := range releases {
		if version == short || version == r.version {
			return r, nil
		}
	}
	return release{}, fmt.Errorf("version %q is none that can be simulated: take one of %s", version, strings.Join(Versions(), ", "))
}

// short is major.minor, which everybody may know.
func (r release) short() string { return r.version[:strings.LastIndexByte(r.version, '.')] }

// Version is what the simulated server calls itself: major.minor.patch.
func (e *Engine) Version() string { return e.rel.version }
