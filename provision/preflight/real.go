package preflight

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"appliance/provision/stack"
)

// RealHost returns the machine that this process runs on.
func RealHost(s *stack.Stack) Host {
	return Host{
		Root: os.DirFS("/"), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), EUID: os.Geteuid(), Settle: 10 * time.Second,
		FreeBytes: freeBytes, Listen: listen,
		Resolve: func(ctx context.Context, host string) ([]net.IP, error) {
			return net.DefaultResolver.LookupIP(ctx, "ip", host)
		},
		Versions: s.Engine().Versions, Published: s.Engine().Publishers,
		FreeInodes: freeInodes, ClockAhead: clockAhead, Reach: reach, CAA: caaIssuers, DNS: internet(), Addresses: addresses, Networking: s.Engine().Networking,
		NoSwap: stack.SwapFileOf(s.Dir).Obstacle,
	}
}

// freeBytes measures at the nearest directory that exists.
func freeBytes(path string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	err = nearest(path, func(p string) error { return syscall.Statfs(p, &st) })
	size := uint64(st.Bsize) //nolint:gosec // a block size is positive
	return st.Bavail * size, st.Blocks * size, err
}

// nearest calls look with a path, or with the closest directory above it that exists.
func nearest(path string, look func(string) error) error {
	for {
		err := look(path)
		if !os.IsNotExist(err) || path == "/" {
			return err
		}
		path = filepath.Dir(path)
	}
}

// anyCertificate accepts any certificate, for servers whose certificates are checked elsewhere.
func anyCertificate() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as said
}

func listen(port int) error {
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port)) //nolint:noctx // ends at once
	if err != nil {
		return err
	}
	return ln.Close()
}
