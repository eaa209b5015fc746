// Package mustrun lets tests skip openly, and not where the run requires them. A test
// that needs a server, a browser or another program skips without it, and make test names
// in APPLIANCE_MUST_RUN what has to run there, so that a skip is a failure.
package mustrun

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Variable names the tests that must run, or prefixes of their names, separated by commas.
const Variable = "APPLIANCE_MUST_RUN"

// Full reports whether tests run at full size, as in make test. Otherwise they are
// smaller: go test ./... is for use while changing something.
var Full = os.Getenv("APPLIANCE_TEST_FULL") != ""

// Sized returns the size of a test: full if tests run at full size, otherwise less.
func Sized(full, less int) int {
	if Full {
		return full
	}
	return less
}

// Exhaustive skips, unless Full, a test that does with every instance (each command, each
// file) what others do with one example.
func Exhaustive(tb testing.TB) {
	tb.Helper()
	if !Full {
		Skip(tb, "make test runs it, with everything there is (APPLIANCE_TEST_FULL=1)")
	}
}

// Skip skips a test whose requirements are not met; it fails the test if Variable names it.
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
