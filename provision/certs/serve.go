package certs

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Serve is the service: it answers challenges and keeps every certificate fresh
// until ctx ends.
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

// keep sees to it that host has a certificate. Asking autocert for it once
// starts autocert's own timer, which renews it; asking again from time to time
// mends what went wrong meanwhile and puts a renewed certificate in place.
func keep(ctx context.Context, i *issuer, host string, log *slog.Logger) {
	for failures := 0; ctx.Err() == nil; {
		wait := time.Hour
		err := waiting(i.cfg, host, time.Now())
		if err == nil {
			err = i.get(host)
			if recErr := record(i.cfg, host, err); recErr != nil {
				log.Error("cannot keep what the authority said", "err", recErr)
			}
		}
		if err != nil && ctx.Err() == nil {
			failures++
			wait = pause(failures, err)
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

// pause is how long to wait after a number of failures in a row: authorities
// allow five an hour, so the first waits are the length of one allowance.
func pause(failures int, err error) time.Duration {
	wait := min(time.Duration(failures)*15*time.Minute, 6*time.Hour)
	if refused, ok := errors.AsType[*RefusedError](err); ok && !refused.RetryAt.IsZero() {
		wait = max(wait, time.Until(refused.RetryAt))
	}
	return wait
}
