package mustrun

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A test that is named, in full or by a prefix, fails instead of skipping; others skip.
func TestASkipIsAFailureWhereTheTestIsDemanded(t *testing.T) {
	if os.Getenv("BE_SKIPPED") != "" {
		t.Run("part", func(t *testing.T) { Skip(t, "there is no server") })
		return
	}
	for list, fails := range map[string]bool{
		"": false, ",": false, "TestOther": false, "TestASkipIsAFailureWhereTheTestIsDemandedToo": false,
		"TestASkip": true, "TestOther,TestASkipIsAFailureWhereTheTestIsDemanded": true,
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "BE_SKIPPED=1", Variable+"="+list)
		out, err := cmd.CombinedOutput()
		if (err != nil) != fails || !strings.Contains(string(out), "there is no server") {
			t.Errorf("%q: %v\n%s", list, err, out)
		}
	}
}
