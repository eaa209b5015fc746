package bridge

import (
	"os"
	"runtime"
	"sync"
)

// spareProcessors is how many more of Go's processors a bridge on SQLite gets than the
// machine has. A write waits for the disk inside a system call, and keeps its processor until
// the runtime notices: of two processors one would be idle most of the time while a backlog is
// delivered, and a message would wait a millisecond longer for each of its steps.
const spareProcessors = 2

// setProcessors is done once in a process.
var setProcessors sync.Once

// addProcessors raises GOMAXPROCS where every write waits for this process's own disk. What
// the operator has set in the environment stays. From then on a limit of the container that
// changes while the bridge runs counts after its next start.
func (s *service) addProcessors() {
	if s.store.Shared() || os.Getenv("GOMAXPROCS") != "" {
		return
	}
	setProcessors.Do(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors) })
}
