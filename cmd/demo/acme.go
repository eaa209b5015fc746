package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/acme"
)

func directory() string { return "https://" + acmeHost + ":14000/dir" }

func (d world) certificateFile(name string) string { return d.path("elsewhere/certs", name+".pem") }

// putCertificate writes a key and its chain for the other server's nginx.
func (d world) putCertificate(name string, data []byte) error {
	if err := d.write(filepath.Join("elsewhere/certs", name+".pem"), data, 0o600); err != nil {
		return err
	}
	return os.Chown(d.certificateFile(name), 101, 101)
}

// selfSigned writes a self-signed certificate, so that nginx starts before there are others.
func (d world) selfSigned() error {
	for _, name := range []string{remoteName, remoteHost} {
		if _, err := os.Stat(d.certificateFile(name)); err == nil {
			continue
		}
		cert, key, err := newCertificate([]string{name}, nil)
		if err != nil {
			return err
		}
		if err := d.putCertificate(name, append(key, cert...)); err != nil {
			return err
		}
	}
	return nil
}

func newCertificate(names []string, ips []net.IP) (cert, key []byte, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, nil, err
	}
	tpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &priv.PublicKey, priv)
	if err != nil {
		return nil, nil, err
	}
	key, err = pemKey(priv)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, err
}

func pemKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

// remoteCertificates gives the other server certificates of the authority, unless it
// already has some that the demo's world trusts.
func (d world) remoteCertificates(ctx context.Context) error {
	roots, err := os.ReadFile(d.path("ca.pem"))
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	client := &acme.Client{Key: key, DirectoryURL: directory(), HTTPClient: clientTrusting(roots), UserAgent: "appliance-demo"}
	registered := false
	for _, name := range []string{remoteName, remoteHost} {
		if trusted(d.certificateFile(name), name, roots) {
			continue
		}
		if !registered {
			if _, err := client.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
				return fmt.Errorf("register with the authority: %w", err)
			}
			registered = true
		}
		data, err := d.issue(ctx, client, name)
		if err != nil {
			return fmt.Errorf("a certificate for %s: %w", name, err)
		}
		if err := d.putCertificate(name, data); err != nil {
			return err
		}
	}
	return nil
}

// keepCertificates renews the certificates of the other server before they expire, until
// ctx ends. Its nginx reads them for every connection.
func (d world) keepCertificates(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
		if err := d.remoteCertificates(ctx); err != nil && ctx.Err() == nil {
			d.say("the certificates of %s, to be tried again: %v", remoteName, err)
		}
	}
}

// trusted reports whether a file holds a certificate for name that the roots vouch for,
// and still will in a minute.
func trusted(file, name string, roots []byte) bool {
	cert, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return false
	}
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err = cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, Intermediates: between, CurrentTime: time.Now().Add(time.Minute)})
	return err == nil
}

// issue obtains a certificate over http-01 through the other server's web root.
func (d world) issue(ctx context.Context, client *acme.Client, name string) ([]byte, error) {
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		return nil, err
	}
	for _, u := range order.AuthzURLs {
		if err := d.answer(ctx, client, u); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, err
	}
	out, err := pemKey(key)
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out, err
}

func (d world) answer(ctx context.Context, client *acme.Client, u string) error {
	authz, err := client.GetAuthorization(ctx, u)
	if err != nil || authz.Status == acme.StatusValid {
		return err
	}
	for _, ch := range authz.Challenges {
		if ch.Type != "http-01" {
			continue
		}
		text, err := client.HTTP01ChallengeResponse(ch.Token)
		if err != nil {
			return err
		}
		file := filepath.Join("elsewhere/webroot/.well-known/acme-challenge", ch.Token)
		if err := d.write(file, []byte(text), 0o644); err != nil {
			return err
		}
		defer func() { _ = os.Remove(d.path(file)) }()
		if _, err := client.Accept(ctx, ch); err != nil {
			return err
		}
		_, err = client.WaitAuthorization(ctx, authz.URI)
		return err
	}
	return errors.New("the authority offers no http-01 challenge")
}
