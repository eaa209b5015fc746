package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// Serve is the service: it answers challenges and renews certificates until ctx ends.
func Serve(ctx context.Context, cfg Config, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("/.well-known/acme-challenge/", challenges(cfg.Dir))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return err
	}
	i, err := newIssuer(ctx, cfg, true)
	if err != nil {
		_ = ln.Close()
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { <-ctx.Done(); return srv.Close() })
	for _, host := range cfg.Hosts {
		g.Go(func() error { keep(ctx, i, host, log.With("host", host)); return nil })
	}
	log.Info("answering challenges", "listen", cfg.Listen, "directory", cfg.Directory)
	return g.Wait()
}

// keep makes sure that host has a certificate. Requesting it from autocert once starts
// autocert's own timer, which renews it when a third of its life is left; but after one failure
// that timer pauses for up to an hour, whatever the life of the certificate, and reports
// nothing. So keep watches it, renews overdue certificates itself, and records what the
// authority said.
func keep(ctx context.Context, i *issuer, host string, log *slog.Logger) {
	for failures := 0; ctx.Err() == nil; {
		err := waiting(i.cfg, host, time.Now())
		if err == nil {
			i, err = i.fresh(host)
			if recErr := record(i.cfg, host, err); recErr != nil {
				log.Error("cannot store the authority's answer", "err", recErr)
			}
		}
		wait := min(time.Hour, i.breath(host))
		if err != nil && ctx.Err() == nil {
			failures++
			wait = i.pause(host, failures, err)
			log.Warn("no certificate", "err", err, "again_in", wait.Round(time.Second).String())
		} else {
			failures = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// fresh returns once host has a certificate that is not overdue, with the issuer that looks
// after it from now on.
func (i *issuer) fresh(host string) (*issuer, error) {
	leaf, err := i.leaf(host)
	if err != nil || time.Until(leaf.NotAfter) > life(leaf)/4 {
		return i, i.get(host)
	}
	next, err := newIssuer(i.transport.ctx, i.cfg, true)
	if err != nil {
		return i, err
	}
	c, _ := next.manager.Cache.(cache)
	c.hidden = &hidden{host: host} // as if there were none: autocert then asks at once and returns the result
	next.manager.Cache = c
	if err := next.get(host); err != nil {
		return i, err
	}
	return next, nil
}

// leaf returns the certificate of host in the cache.
func (i *issuer) leaf(host string) (*x509.Certificate, error) {
	return readLeaf(filepath.Join(CacheDir(i.cfg.Dir, i.cfg.Directory), host))
}

func life(leaf *x509.Certificate) time.Duration { return leaf.NotAfter.Sub(leaf.NotBefore) }

// breath is the interval at which to check a certificate, by its life: a long one every hour,
// one of minutes every few seconds.
func (i *issuer) breath(host string) time.Duration {
	leaf, err := i.leaf(host)
	if err != nil {
		return time.Hour
	}
	return max(life(leaf)/12, time.Second)
}

// pause is how long to wait after consecutive failures. It is never so long that a short-lived
// certificate would expire in the meantime.
func (i *issuer) pause(host string, failures int, err error) time.Duration {
	wait := pause(failures, err)
	if refused, ok := errors.AsType[*RefusedError](err); ok && !refused.RetryAt.IsZero() {
		return wait
	}
	if leaf, err := i.leaf(host); err == nil {
		wait = min(wait, max(life(leaf)/12, time.Second))
	}
	return wait
}

// pause is how long to wait after a number of consecutive failures: authorities allow five an
// hour, so the first waits are the length of one allowance.
func pause(failures int, err error) time.Duration {
	wait := min(time.Duration(failures)*15*time.Minute, 6*time.Hour)
	if refused, ok := errors.AsType[*RefusedError](err); ok && !refused.RetryAt.IsZero() {
		wait = max(wait, time.Until(refused.RetryAt))
	}
	return wait
}
