// Package mustrun is how tests skip: openly, and not where the run demands them. A test
// that needs a server, a browser or another program skips without it, and make test
// names in APPLIANCE_MUST_RUN what has to run there, so that a skip is a failure.
package mustrun

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Variable names the tests that must run, or their beginnings, with commas between.
const Variable = "APPLIANCE_MUST_RUN"

// Full reports whether tests have their full size, as in make test. Otherwise they are
// smaller: go test ./... is for whoever is changing something.
var Full = os.Getenv("APPLIANCE_TEST_FULL") != ""

// Sized returns how much of something a test does: full when it has its full size, and less
// otherwise.
func Sized(full, less int) int {
	if Full {
		return full
	}
	return less
}

// Exhaustive skips, unless Full, a test that does with everything there is (each command,
// each file) what others do with an example of it.
func Exhaustive(tb testing.TB) {
	tb.Helper()
	if !Full {
		Skip(tb, "make test runs it, with everything there is (APPLIANCE_TEST_FULL=1)")
	}
}

// Skip skips a test whose needs are not met; it fails the test where Variable names it.
func Skip(tb testing.TB, why string) {
	tb.Helper()
	if demanded(os.Getenv(Variable), tb.Name()) {
		tb.Fatalf("must run here, but: %s", why)
	}
	tb.Skip(why)
}

func demanded(list, test string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(n string) bool {
		return n != "" && strings.HasPrefix(test, n)
	})
}
