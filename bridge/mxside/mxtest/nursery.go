package mxtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// nursery is a Python process that has loaded Synapse, and forks one whenever a test
// needs it: loading takes two seconds of a processor each time, and a suite starts a
// hundred servers or so. Synapse's own tests with workers do the same, and provide the
// module that gives a forked process a reactor of its own.
type nursery struct {
	mu     sync.Mutex
	in     io.Writer
	out    *bufio.Reader
	failed error
}

// theNursery lives as long as the test binary.
var theNursery = sync.OnceValue(openNursery)

func openNursery() *nursery {
	root, _ := filepath.Abs(os.Getenv("APPLIANCE_SYNAPSE"))
	loaders, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/ld-linux-*.so.*"))
	loader := filepath.Join(root, "lib64/ld-linux-x86-64.so.2")
	if len(loaders) > 0 {
		loader = loaders[0]
	}
	cmd := exec.Command(loader, "--library-path", filepath.Dir(loader), filepath.Join(root, "usr/bin/python3"), "-c", nurseryScript) //nolint:gosec,noctx // it ends with this process
	cmd.Env = []string{"PYTHONHOME=" + filepath.Join(root, "usr"), "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return &nursery{failed: err}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return &nursery{failed: err}
	}
	var said strings.Builder
	cmd.Stderr = &said
	n := &nursery{in: in, out: bufio.NewReader(out)}
	if err := cmd.Start(); err != nil {
		return &nursery{failed: err}
	}
	if _, err := n.out.ReadString('\n'); err != nil { // it has loaded everything
		_ = cmd.Wait()
		return &nursery{failed: fmt.Errorf("synapse could not be loaded: %w\n%s", err, said.String())}
	}
	return n
}

// fork starts a Synapse in a directory with its homeserver.yaml. It ends at the latest
// when this process does.
func (n *nursery) fork(dir, log string) (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed != nil {
		return nil, n.failed
	}
	order, err := json.Marshal(map[string]string{"dir": dir, "log": log})
	if err != nil {
		return nil, err
	}
	if _, err := n.in.Write(append(order, '\n')); err != nil {
		return nil, err
	}
	var pid int
	if _, err := fmt.Fscanln(n.out, &pid); err != nil {
		return nil, fmt.Errorf("synapse was not forked: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); awaitEnd(pid) }()
	return &process{pid, ended}, nil
}

// awaitEnd waits until a process that is not a child of this one has ended.
func awaitEnd(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); n > 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}

func (synapse) start(s *Server, log *os.File) (*process, error) {
	return theNursery().fork(s.dir, log.Name())
}

// nurseryScript reads a line for each Synapse to start and answers with its process ID.
// Nobody waits for a process that has ended, so the kernel is told to discard it.
const nurseryScript = `
import ctypes, gc, json, os, signal, sys
from twisted.internet.main import installReactor
from synapse.app.complement_fork_starter import ProxiedReactor, _worker_entrypoint
reactor = ProxiedReactor()
installReactor(reactor)
import synapse.app.homeserver
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
libc = ctypes.CDLL(None)
gc.collect()
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(order["dir"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        _worker_entrypoint(synapse.app.homeserver.main, reactor, ["synapse.app.homeserver", "--config-path", "homeserver.yaml"])
    except SystemExit as e:
        os._exit(e.code if isinstance(e.code, int) else 1)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
`
