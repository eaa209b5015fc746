package bridge

import (
	"os"
	"runtime"
	"sync"
)

// spareProcessors is how many more Go processors than the machine has a bridge on SQLite
// gets. A write waits for the disk inside a system call, and keeps its processor until the
// runtime notices: of two processors one would be idle most of the time while a backlog is
// delivered, and a message would wait a millisecond longer for each of its steps.
const spareProcessors = 2

// setProcessors lets addProcessors act only once per process.
var setProcessors sync.Once

// addProcessors raises GOMAXPROCS if every write waits for this process's own disk. A
// value set in the environment is kept. After this call, a container limit that changes
// while the bridge runs takes effect only at its next start.
func (s *service) addProcessors() {
	if s.store.Shared() || os.Getenv("GOMAXPROCS") != "" {
		return
	}
	setProcessors.Do(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors) })
}
