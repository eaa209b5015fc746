package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// An issuer requests certificates from one authority.
type issuer struct {
	cfg       Config
	transport *transport
	manager   *autocert.Manager
}

// newIssuer prepares requests to cfg.Directory; the certificates are published if live is true.
// Requests end when ctx does.
func newIssuer(ctx context.Context, cfg Config, live bool) (*issuer, error) {
	roots, err := cfg.roots()
	if err != nil {
		return nil, err
	}
	eab, err := cfg.binding()
	if err != nil {
		return nil, err
	}
	dir := CacheDir(cfg.Dir, cfg.Directory)
	t := &transport{ctx: ctx, now: time.Now, turn: make(chan struct{}, 1), room: func() error { return room(dir) }, base: &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	c := cache{dir: dir}
	if live {
		c.publish = func(host string, pem []byte) error { return publish(cfg.Dir, host, pem) }
	}
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: c, Email: cfg.Email, ExternalAccountBinding: eab,
		HostPolicy: autocert.HostWhitelist(cfg.Hosts...),
		Client: &acme.Client{
			DirectoryURL: cfg.Directory, UserAgent: "appliance", RetryBackoff: backoff,
			HTTPClient: &http.Client{Transport: t, Timeout: time.Minute},
		},
	}
	m.HTTPHandler(nil) // without this call autocert does not consider http-01
	return &issuer{cfg: cfg, transport: t, manager: m}, nil
}

// get returns once host has a valid certificate in the cache and, if it is to be published,
// where nginx reads it.
func (i *issuer) get(host string) error {
	if err := i.forget(host); err != nil {
		return err
	}
	cert, err := i.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName:   host, // ECDSA: a bare hello would get RSA
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err == nil {
		err = errIfExpired(cert, i.transport.now())
	}
	if err == nil {
		return errors.Join(i.republish(host), i.cfg.vouched(host))
	}
	if i.transport.ctx.Err() != nil {
		return i.transport.ctx.Err()
	}
	problem, retryAt, full := i.transport.last()
	if full != nil {
		return &FullDiskError{Host: host, Dir: i.cfg.Dir, Cause: full}
	}
	return &RefusedError{Host: host, Directory: i.cfg.Directory, Problem: problem, RetryAt: retryAt, Cause: err}
}

func errIfExpired(c *tls.Certificate, now time.Time) error {
	if c.Leaf != nil && now.After(c.Leaf.NotAfter) {
		return errors.New("the certificate has expired and was not renewed")
	}
	return nil
}

// republish publishes the cached certificate again: what is published may be older, or gone.
func (i *issuer) republish(host string) error {
	c, _ := i.manager.Cache.(cache)
	if c.publish == nil {
		return nil
	}
	pem, err := c.Get(i.transport.ctx, host)
	if err != nil {
		return err
	}
	return c.publish(host, pem)
}

// Obtain makes sure that host has a certificate from cfg.Directory, and publishes it.
// Challenges must be answered meanwhile, by Answer or by a service that uses the same
// directory. A *RefusedError is stored, and if it says how long to wait, calls before that time
// fail without a request.
func Obtain(ctx context.Context, cfg Config, host string) error {
	if err := waiting(cfg, host, time.Now()); err != nil {
		return err
	}
	err := rehearse(ctx, cfg, host)
	if err == nil {
		var i *issuer
		if i, err = newIssuer(ctx, cfg, true); err == nil {
			err = i.get(host)
		}
	}
	return errors.Join(err, record(cfg, host, err))
}

// rehearse tries the test authority first, which forgives failures that the real one counts. A
// host that already has a certificate does not rehearse.
func rehearse(ctx context.Context, cfg Config, host string) error {
	if cfg.Rehearse == "" {
		return nil
	}
	if _, err := (cache{dir: CacheDir(cfg.Dir, cfg.Directory)}).Get(ctx, host); err == nil {
		return nil
	}
	cfg.Directory, cfg.EAB = cfg.Rehearse, nil
	i, err := newIssuer(ctx, cfg, false)
	if err != nil {
		return err
	}
	return i.get(host)
}

// Answer answers challenges on addr until stop is called, for the time in which no service
// does. It returns once it listens.
func Answer(ctx context.Context, dir, addr string) (stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: challenges(dir), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	return func() { _ = srv.Close(); <-done }, nil
}
