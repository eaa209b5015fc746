package preflight

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"appliance/provision/stack"
)

// RealHost is the machine that this process runs on.
func RealHost(s *stack.Stack) Host {
	return Host{
		Root: os.DirFS("/"), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), EUID: os.Geteuid(),
		FreeBytes: freeBytes, Listen: listen,
		Resolve: func(ctx context.Context, host string) ([]net.IP, error) {
			return net.DefaultResolver.LookupIP(ctx, "ip", host)
		},
		Versions: s.Versions, Published: s.Publishers,
	}
}

// freeBytes looks at the nearest directory that exists.
func freeBytes(path string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	for {
		err = syscall.Statfs(path, &st)
		if !os.IsNotExist(err) || path == "/" {
			break
		}
		path = filepath.Dir(path)
	}
	size := uint64(st.Bsize) //nolint:gosec // a block size is positive
	return st.Bavail * size, st.Blocks * size, err
}

func listen(port int) error {
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port)) //nolint:noctx // ends at once
	if err != nil {
		return err
	}
	return ln.Close()
}
