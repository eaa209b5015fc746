// Package certs obtains and renews certificates. Certificates come from
// an ACME authority (through autocert, with only the http-01 challenge), from an
// authority of this host's own, or from files; wherever they come from, nginx
// reads them as live/<host>.pem below the directory of certificates: one file
// with the key first and the chain after it, replaced in one step.
//
//	live/<host>.pem      what nginx serves
//	acme/<authority>/    autocert's cache, one per ACME directory
//	internal/            the host's own authority
//	failures.json        what an authority refused, and until when to wait
//
// It knows nothing of containers: it listens where it is told.
package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// Config says which certificates to request from which authority. It is also the configuration
// file of the service that renews them.
type Config struct {
	Hosts     []string `yaml:"hosts"`
	Directory string   `yaml:"directory"`          // the authority's ACME directory
	Rehearse  string   `yaml:"rehearse,omitempty"` // directory of a test authority to ask first, once per host
	Email     string   `yaml:"email,omitempty"`
	EAB       *Binding `yaml:"eab,omitempty"`
	CAFile    string   `yaml:"ca_file,omitempty"` // roots to trust besides the system's when speaking to the authority
	Dir       string   `yaml:"dir"`               // the directory of certificates
	Listen    string   `yaml:"listen"`            // where challenges are answered
}

// Owner is the user who reads certificates: nginx in its container.
const Owner = 101

// LoadConfig reads a configuration file; an unknown key is an error.
func LoadConfig(name string) (Config, error) {
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	if err != nil {
		return Config{}, err
	}
	var c Config
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(c.Hosts) == 0 || c.Directory == "" || c.Dir == "" || c.Listen == "" {
		return Config{}, fmt.Errorf("%s: hosts, directory, dir and listen are required", name)
	}
	return c, nil
}

// LivePath is the file that nginx serves for host.
func LivePath(dir, host string) string { return filepath.Join(dir, "live", host+".pem") }

// CacheDir is where the certificates of one authority are kept. Each authority
// has its own, so that a test certificate is never taken for a real one.
func CacheDir(dir, directory string) string {
	sum := sha256.Sum256([]byte(directory))
	return filepath.Join(dir, "acme", hex.EncodeToString(sum[:6]))
}

// roots returns the system's certificates and those in CAFile.
func (c Config) roots() (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if c.CAFile == "" {
		return pool, nil
	}
	data, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", c.CAFile)
	}
	return pool, nil
}
