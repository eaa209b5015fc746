package certs

import (
	"context"
	"time"
)

// patience is how long the service may take to obtain a certificate.
const patience = 2 * time.Minute

// Await waits until the service, which has just been started, has a certificate from
// cfg.Directory for host, or the authority has refused one.
func Await(ctx context.Context, cfg Config, host string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		if NeedACME(cfg, host, time.Now()) == "" {
			return nil
		}
		failures, err := Failures(cfg.Dir)
		if err != nil {
			return err
		}
		if f, ok := failures[host]; ok && f.Directory == cfg.Directory {
			return &RefusedError{Host: host, Directory: f.Directory, Problem: f.Problem, RetryAt: f.NotBefore}
		}
		select {
		case <-ctx.Done():
			return &RefusedError{Host: host, Directory: cfg.Directory, Cause: ctx.Err()}
		case <-tick.C:
		}
	}
}
