package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"appliance/provision/internal/atomicfile"
)

// placeholderName marks certificates that exist only to let nginx start.
const placeholderName = "appliance placeholder"

// Placeholder makes sure that host has a certificate, so that nginx can answer. It does not
// replace an existing one.
func Placeholder(dir, host string) error {
	if _, err := os.Stat(LivePath(dir, host)); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := leafTemplate(host, 90*24*time.Hour)
	template.Subject.CommonName = placeholderName
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	bundle, err := encode(key, der)
	if err != nil {
		return err
	}
	return publish(dir, host, bundle)
}

// InternalCA is the certificate that people have to trust with tls: internal.
func InternalCA(dir string) string { return filepath.Join(dir, "internal", "ca.pem") }

// IssueInternal publishes a certificate for host from this host's own authority, which it
// creates if there is none.
func IssueInternal(dir, host string) error {
	ca, caKey, err := internalAuthority(dir)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leafTemplate(host, 397*24*time.Hour), ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	bundle, err := encode(key, der, ca.Raw)
	if err != nil {
		return err
	}
	return publish(dir, host, bundle)
}

func internalAuthority(dir string) (*x509.Certificate, crypto.Signer, error) {
	pair, err := tls.LoadX509KeyPair(InternalCA(dir), keyPath(dir))
	if os.IsNotExist(err) {
		if err := makeAuthority(dir); err != nil {
			return nil, nil, err
		}
		pair, err = tls.LoadX509KeyPair(InternalCA(dir), keyPath(dir))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("internal authority: %w", err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("internal authority: %s cannot sign", keyPath(dir))
	}
	return pair.Leaf, signer, nil
}

func keyPath(dir string) string { return filepath.Join(dir, "internal", "ca.key") }

func makeAuthority(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := leafTemplate("", 10*365*24*time.Hour)
	template.DNSNames, template.IsCA, template.BasicConstraintsValid = nil, true, true
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	template.Subject = pkix.Name{CommonName: "appliance internal authority", SerialNumber: template.SerialNumber.Text(16)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyPEM, err := encode(key)
	if err != nil {
		return err
	}
	if err := mkdir(filepath.Dir(keyPath(dir))); err != nil {
		return err
	}
	if err := atomicfile.Write(keyPath(dir), keyPEM, 0o600); err != nil {
		return err
	}
	return atomicfile.Write(InternalCA(dir), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func leafTemplate(host string, valid time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand does not fail
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(valid),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// encode writes a key and certificates as nginx and autocert read them.
func encode(key *ecdsa.PrivateKey, certificates ...[]byte) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	for _, c := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return out, nil
}
