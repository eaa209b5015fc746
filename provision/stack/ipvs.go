package stack

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// HasIPVS reports whether the kernel of this host has IPVS, which Docker Swarm needs to give
// several tasks one address: it is loaded, or available as a module.
func HasIPVS() bool {
	if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
		return true
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return false
	}
	for _, list := range []string{"modules.builtin", "modules.dep"} {
		data, err := os.ReadFile(filepath.Join("/lib/modules", strings.TrimSpace(string(release)), list)) //nolint:gosec // of the kernel that runs
		if err == nil && bytes.Contains(data, []byte("/ip_vs.ko")) {
			return true
		}
	}
	return false
}
