package bridge

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"appliance/bridge/store"
)

// A process that waits for its own disk gets spare processors, only once, and none if the
// operator has set their number.
func TestABridgeOnSQLiteHasSpareProcessors(t *testing.T) {
	const child = "APPLIANCE_TEST_PROCESSORS"
	if os.Getenv(child) != "" {
		db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		before, s := runtime.GOMAXPROCS(0), &service{store: db}
		s.addProcessors()
		s.addProcessors()
		fmt.Printf("\n%d more\n", runtime.GOMAXPROCS(0)-before)
		return
	}
	for set, want := range map[string]string{"": "\n2 more\n", "3": "\n0 more\n"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1", "GOMAXPROCS="+set)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("with GOMAXPROCS=%q: %v\n%s", set, err, out)
		}
	}
}
