package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"

	"appliance/provision/internal/atomicfile"
)

// caRecord is the file in an authority's cache that records with which CAFile the certificate
// of host was obtained.
func (c Config) caRecord(host string) string {
	return filepath.Join(CacheDir(c.Dir, c.Directory), host+".ca_file")
}

// foreign reports whether a certificate in the cache comes from an authority that is no longer
// trusted: CAFile has changed, and none of its roots signed the certificate. The roots alone do
// not decide it, because CAFile need not hold the root of what the authority issues.
func (c Config) foreign(host string, pair tls.Certificate) bool {
	digest, roots := c.caDigest()
	was, err := os.ReadFile(c.caRecord(host))
	if err != nil || digest == "" || string(was) == digest {
		return false
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(cert)
		}
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: pair.Leaf.NotAfter})
	return err != nil
}

// caDigest identifies CAFile; "" when there is none.
func (c Config) caDigest() (string, *x509.CertPool) {
	data, err := os.ReadFile(c.CAFile)
	if c.CAFile == "" || err != nil {
		return "", nil
	}
	roots, err := c.roots()
	if err != nil {
		return "", nil
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), roots
}

// forget removes the certificate from the cache if its authority is no longer trusted. nginx
// serves it until there is another.
func (i *issuer) forget(host string) error {
	name := filepath.Join(CacheDir(i.cfg.Dir, i.cfg.Directory), host)
	pair, err := tls.LoadX509KeyPair(name, name)
	if err != nil || !i.cfg.foreign(host, pair) {
		return nil // autocert replaces what cannot be read
	}
	return os.Remove(name)
}

// vouched records the CAFile with which the certificate of host was obtained or found valid.
func (c Config) vouched(host string) error {
	digest, _ := c.caDigest()
	if was, err := os.ReadFile(c.caRecord(host)); digest == "" || err == nil && string(was) == digest {
		return nil
	}
	return atomicfile.WriteOwned(c.caRecord(host), []byte(digest), 0o600, Owner, Owner)
}
