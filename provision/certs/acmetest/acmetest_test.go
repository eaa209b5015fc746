package acmetest_test

import (
	"fmt"
	"os"
	"testing"

	"appliance/provision/certs/acmetest"
)

// FreePort never returns an ephemeral port, which an outgoing connection of another
// program could take before the test's server listens on it.
func TestAFreePortStaysFree(t *testing.T) {
	var first, last int
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(data), &first, &last)
	}
	if err != nil {
		t.Fatal(err)
	}
	given := map[int]bool{}
	for range 50 {
		port := acmetest.FreePort(t)
		if port >= first && port <= last || given[port] {
			t.Errorf("got %d; connections take %d to %d, and given were %v", port, first, last, given)
		}
		given[port] = true
	}
}
