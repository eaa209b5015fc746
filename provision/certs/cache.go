package certs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/acme/autocert"

	"appliance/provision/internal/atomicfile"
)

// A cache is autocert's cache for one authority. It gives every file to Owner, because both the
// command (as root) and the service (as Owner) write here, and it puts each new certificate
// where nginx reads it.
type cache struct {
	dir     string // CacheDir
	publish func(host string, pem []byte) error
	hidden  *hidden // may be nil
}

// hidden is a certificate that the cache hides until there is a new one.
type hidden struct {
	host string
	done atomic.Bool
}

func (c cache) Get(ctx context.Context, key string) ([]byte, error) {
	if c.hidden != nil && key == c.hidden.host && !c.hidden.done.Load() {
		return nil, autocert.ErrCacheMiss
	}
	return autocert.DirCache(c.dir).Get(ctx, key)
}

func (c cache) Delete(ctx context.Context, key string) error {
	return autocert.DirCache(c.dir).Delete(ctx, key)
}

func (c cache) Put(ctx context.Context, key string, data []byte) error {
	if err := mkdir(c.dir); err != nil {
		return err
	}
	if err := atomicfile.WriteOwned(filepath.Join(c.dir, key), data, 0o600, Owner, Owner); err != nil {
		return err
	}
	if c.hidden != nil && key == c.hidden.host {
		c.hidden.done.Store(true)
	}
	if c.publish == nil || strings.Contains(key, "+") { // an account, a token
		return nil
	}
	return c.publish(key, data)
}

// publish puts a key and its chain where nginx reads them.
func publish(dir, host string, pem []byte) error {
	name := LivePath(dir, host)
	if old, err := os.ReadFile(name); err == nil && string(old) == string(pem) { //nolint:gosec // host is one of ours
		return nil
	}
	if err := mkdir(filepath.Dir(name)); err != nil {
		return err
	}
	return atomicfile.WriteOwned(name, pem, 0o600, Owner, Owner)
}

// mkdir makes a directory and its missing parents. Only Owner may enter them.
func mkdir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := mkdir(filepath.Dir(dir)); err != nil {
		return err
	}
	return atomicfile.Mkdir(dir, 0o700, Owner, Owner)
}
