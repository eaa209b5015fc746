package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// quarter is the usual lifetime of the demo's certificates.
const quarter = 90 * 24 * time.Hour

// A renewal renews short-lived certificates under load.
type renewal struct{ *demo }

// renew makes the authority issue only short-lived certificates, and opens connection
// after connection through the front door while the installation renews them: none may
// fail, and none may show an expired certificate.
func (d renewal) renew(ctx context.Context, life, during time.Duration) (err error) {
	if err := d.lifetime(ctx, life); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.lifetime(context.WithoutCancel(ctx), quarter)) }()
	roots, err := os.ReadFile(d.path("ca.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	// On a busy machine up takes longer than such a certificate lives.
	for _, name := range []string{chatHost, serverName} {
		if err := d.freshly(ctx, name, life/2); err != nil {
			return err
		}
	}
	seen := &serials{first: map[string]time.Time{}}
	load, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	var wg sync.WaitGroup
	for _, name := range []string{chatHost, serverName} {
		for range 4 {
			wg.Go(func() { seen.knock(load, name, pool) })
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if n := seen.failed.Load(); n > 0 {
		return fmt.Errorf("%d of %d handshakes failed: %w", n, seen.done.Load(), seen.err)
	}
	if want := 2 * int(during/life); len(seen.first) < want {
		return fmt.Errorf("only %d certificates were shown in %s, and each lives for %s", len(seen.first), during, life)
	}
	d.say("%d handshakes in %s over %d certificates that live for %s each: none failed", seen.done.Load(), during, len(seen.first), life)
	return nil
}

// freshly waits until the front door shows a certificate that is valid for some time yet.
func (d renewal) freshly(ctx context.Context, name string, left time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // only its dates matter
	for {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", "443"))
		if err == nil {
			tc, _ := conn.(*tls.Conn)
			until := tc.ConnectionState().PeerCertificates[0].NotAfter
			_ = conn.Close()
			if time.Until(until) > left {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no fresh certificate for %s: %w", name, errors.Join(ctx.Err(), err))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// lifetime restarts the authority with another lifetime of certificates, and gets new
// ones for everybody.
func (d renewal) lifetime(ctx context.Context, life time.Duration) error {
	d.life = life
	if err := world(d).pebble(); err != nil {
		return err
	}
	if _, err := d.command(ctx, "docker", "restart", project+"-pebble-1"); err != nil {
		return err
	}
	if err := world(d).elsewhere(ctx); err != nil {
		return err
	}
	// The authority has a new root now, and a homeserver reads roots when it starts.
	if err := world(d).composeElsewhere(ctx, "restart", "remote-homeserver"); err != nil {
		return err
	}
	if err := world(d).composeElsewhere(ctx, "up", "-d", "--wait", "remote-homeserver"); err != nil {
		return err
	}
	return d.appliance(ctx, false)
}

// serials are the certificates that were shown.
type serials struct {
	done, failed atomic.Int64
	mu           sync.Mutex
	first        map[string]time.Time
	err          error // the first
}

func (s *serials) knock(ctx context.Context, name string, pool *x509.CertPool) {
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}} // verifies the time too
	for ctx.Err() == nil {
		// Each has its own timeout: the end of the run is not a failure of the last one.
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		conn, err := dialer.DialContext(one, "tcp", net.JoinHostPort("127.0.0.1", "443"))
		cancel()
		s.done.Add(1)
		if err != nil {
			s.failed.Add(1)
			s.mu.Lock()
			s.err = errors.Join(s.err, err)
			s.mu.Unlock()
			return // one is enough
		}
		tc, _ := conn.(*tls.Conn)
		serial := tc.ConnectionState().PeerCertificates[0].SerialNumber.String()
		_ = conn.Close()
		s.mu.Lock()
		if _, known := s.first[serial]; !known {
			s.first[serial] = time.Now()
		}
		s.mu.Unlock()
		select { // a few hundred a second are enough
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
