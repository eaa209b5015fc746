package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Status describes the certificate of one host.
type Status struct {
	Host        string    `json:"host"`
	Exists      bool      `json:"exists"`
	Placeholder bool      `json:"placeholder,omitempty"` // self-signed, until a real one comes
	Issuer      string    `json:"issuer,omitempty"`
	Serial      string    `json:"serial,omitempty"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Failure     *Failure  `json:"failure,omitempty"` // the last refusal, if nothing came after it
}

// Days returns for how many more days the certificate is valid.
func (s Status) Days(now time.Time) int { return int(s.NotAfter.Sub(now).Hours() / 24) }

// Inspect returns the status of the certificate that nginx serves for host.
func Inspect(dir, host string) (Status, error) {
	s := Status{Host: host}
	failures, err := Failures(dir)
	if err != nil {
		return s, err
	}
	if f, ok := failures[host]; ok {
		s.Failure = &f
	}
	leaf, err := readLeaf(LivePath(dir, host))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.Exists, s.Placeholder = true, leaf.Subject.CommonName == placeholderName
	s.Issuer, s.Serial = leaf.Issuer.String(), leaf.SerialNumber.Text(16)
	s.NotBefore, s.NotAfter = leaf.NotBefore, leaf.NotAfter
	return s, nil
}

func readLeaf(name string) (*x509.Certificate, error) {
	data, err := os.ReadFile(name) //nolint:gosec // below the directory of certificates
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	return pair.Leaf, nil
}

// NeedACME returns why a certificate from cfg.Directory has to be obtained for host, or "" if a
// valid one is in place.
func NeedACME(cfg Config, host string, now time.Time) string {
	cached, err := os.ReadFile(filepath.Join(CacheDir(cfg.Dir, cfg.Directory), host))
	if err != nil {
		return "none on disk from this authority"
	}
	pair, err := tls.X509KeyPair(cached, cached)
	if err != nil || !now.Before(pair.Leaf.NotAfter) {
		return "the one on disk has expired or is damaged"
	}
	if cfg.foreign(host, pair) {
		return "acme_ca_file has changed, and the certificate on disk is not signed by it"
	}
	if live, err := os.ReadFile(LivePath(cfg.Dir, host)); err != nil || !bytes.Equal(live, cached) { //nolint:gosec // host is one of ours
		return "the one on disk is not in use"
	}
	return ""
}

// NeedInternal returns why this host's own authority has to issue a certificate.
func NeedInternal(dir, host string, now time.Time) string {
	leaf, err := readLeaf(LivePath(dir, host))
	if err != nil {
		return "none on disk"
	}
	ca, err := tls.LoadX509KeyPair(InternalCA(dir), keyPath(dir))
	if err != nil || leaf.CheckSignatureFrom(ca.Leaf) != nil {
		return "the one on disk comes from another authority"
	}
	if now.Add(30 * 24 * time.Hour).After(leaf.NotAfter) {
		return "expires on " + leaf.NotAfter.Format(time.DateOnly)
	}
	return ""
}

// NeedFiles returns why the operator's certificate has to be put in place.
func NeedFiles(dir, host string, bundle []byte) string {
	if live, err := os.ReadFile(LivePath(dir, host)); err != nil || !bytes.Equal(live, bundle) { //nolint:gosec // host is one of ours
		return "the file differs from the one in use"
	}
	return ""
}
