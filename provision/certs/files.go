package certs

import (
	"crypto/tls"
	"fmt"
	"os"
	"time"
)

// ReadFiles reads a certificate with its chain and its key, checks that they belong together
// and are valid for every host, and returns them as one bundle.
func ReadFiles(certFile, keyFile string, hosts []string, now time.Time) ([]byte, error) {
	chain, err := os.ReadFile(certFile) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(keyFile) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	for _, host := range hosts {
		if err := pair.Leaf.VerifyHostname(host); err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
	}
	if now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("%s expired on %s", certFile, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return append(append(key, '\n'), chain...), nil
}

// InstallFiles publishes a key and its chain for host.
func InstallFiles(dir, host string, bundle []byte) error { return publish(dir, host, bundle) }
