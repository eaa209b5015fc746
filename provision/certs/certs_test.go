package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/certs"
	"appliance/provision/certs/acmetest"
)

func config(t *testing.T, srv *acmetest.Server, hosts ...string) certs.Config {
	return certs.Config{Hosts: hosts, Directory: srv.Directory, CAFile: srv.CAFile, Dir: t.TempDir(), Listen: addr(srv)}
}

func addr(srv *acmetest.Server) string { return fmt.Sprintf("127.0.0.1:%d", srv.HTTPPort) }

// answered runs f while challenges are answered.
func answered(t *testing.T, cfg certs.Config, f func()) {
	t.Helper()
	stop, err := certs.Answer(t.Context(), cfg.Dir, cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	f()
}

func TestACertificateIsObtainedOnceAndPutWhereNginxReadsIt(t *testing.T) {
	srv := acmetest.New(t)
	cfg := config(t, srv, "chat.example.test")
	if cause := certs.NeedACME(cfg, "chat.example.test", time.Now()); cause != "none on disk from this authority" {
		t.Errorf("before: %q", cause)
	}
	answered(t, cfg, func() {
		for range 2 {
			if err := certs.Obtain(t.Context(), cfg, "chat.example.test"); err != nil {
				t.Fatal(err)
			}
		}
	})
	name := certs.LivePath(cfg.Dir, "chat.example.test")
	pair, err := tls.LoadX509KeyPair(name, name)
	if err != nil {
		t.Fatal(err)
	}
	if pair.Leaf.VerifyHostname("chat.example.test") != nil || !strings.Contains(pair.Leaf.Issuer.CommonName, "Pebble") || len(pair.Certificate) < 2 {
		t.Errorf("leaf for %v from %v, chain of %d", pair.Leaf.DNSNames, pair.Leaf.Issuer, len(pair.Certificate))
	}
	if pair.Leaf.PublicKeyAlgorithm.String() != "ECDSA" {
		t.Errorf("key is %v", pair.Leaf.PublicKeyAlgorithm)
	}
	if info, _ := os.Stat(name); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if n := srv.Asked("order-plz"); n != 1 {
		t.Errorf("%d orders for one certificate: a challenge other than http-01 was tried, or it was asked for twice", n)
	}
	if cause := certs.NeedACME(cfg, "chat.example.test", time.Now()); cause != "" {
		t.Errorf("after: %q", cause)
	}
}

func TestARefusalHasTheAuthoritysOwnWordsAndIsKept(t *testing.T) {
	srv := acmetest.New(t)
	cfg := config(t, srv, "chat.example.test", "evil.example.test", "not-there.invalid")
	srv.Block(t, "evil.example.test")
	for host, want := range map[string]struct{ words, hint string }{
		"chat.example.test": {"connection refused", "port 80 of chat.example.test must reach this host"},
		"evil.example.test": {"forbidden by policy", "use another name"},
		"not-there.invalid": {"", "not-there.invalid"},
	} {
		err := certs.Obtain(t.Context(), cfg, host)
		refused, ok := errors.AsType[*certs.RefusedError](err)
		if !ok {
			t.Fatalf("%s: %v", host, err)
		}
		if !strings.Contains(strings.ToLower(refused.Error()), want.words) || strings.Contains(err.Error(), "viable challenge") {
			t.Errorf("%s: %v", host, err)
		}
		if !strings.Contains(refused.Hint(), want.hint) {
			t.Errorf("%s: hint %q", host, refused.Hint())
		}
		st, err := certs.Inspect(cfg.Dir, host)
		if err != nil || st.Failure == nil || st.Failure.Problem.Detail == "" {
			t.Errorf("%s: status %+v, %v", host, st, err)
		}
	}
}

func TestTheAuthoritysWaitIsHonouredAcrossRuns(t *testing.T) {
	srv := acmetest.New(t)
	cfg := config(t, srv, "chat.example.test")
	srv.Busy(time.Hour)
	err := certs.Obtain(t.Context(), cfg, "chat.example.test")
	refused, ok := errors.AsType[*certs.RefusedError](err)
	if !ok || !strings.Contains(err.Error(), "too many failed authorizations") || time.Until(refused.RetryAt) < 50*time.Minute {
		t.Fatalf("%v", err)
	}
	srv.Busy(0)
	asked := srv.Asked("order-plz")
	err = certs.Obtain(t.Context(), cfg, "chat.example.test")
	if refused, ok = errors.AsType[*certs.RefusedError](err); !ok || !refused.Earlier {
		t.Errorf("asked again before it was time: %v", err)
	}
	if n := srv.Asked("order-plz") - asked; n != 0 {
		t.Errorf("%d more orders", n)
	}
}

func TestAnAuthorityThatCannotBeReachedIsARefusalToo(t *testing.T) {
	cfg := certs.Config{Hosts: []string{"a.test"}, Directory: "https://127.0.0.1:1/dir", Dir: t.TempDir()}
	err := certs.Obtain(t.Context(), cfg, "a.test")
	refused, ok := errors.AsType[*certs.RefusedError](err)
	if !ok || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(refused.Hint(), "acme_ca_file") {
		t.Errorf("%v", err)
	}
}

func TestARehearsalThatFailsKeepsTheRealAuthorityOutOfIt(t *testing.T) {
	rehearsal, production := acmetest.New(t), acmetest.New(t)
	cfg := config(t, production, "chat.example.test")
	cfg.Rehearse = rehearsal.Directory
	both, _ := os.ReadFile(rehearsal.CAFile)
	second, _ := os.ReadFile(production.CAFile)
	if err := os.WriteFile(cfg.CAFile, append(both, second...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := certs.Obtain(t.Context(), cfg, "chat.example.test"); err == nil {
		t.Fatal("obtained while nobody answers")
	}
	if rehearsal.Asked("order-plz") == 0 || production.Asked("order-plz") != 0 {
		t.Errorf("orders: rehearsal %d, production %d", rehearsal.Asked("order-plz"), production.Asked("order-plz"))
	}
}

func TestTheServiceObtainsAndAnswersForOthers(t *testing.T) {
	srv := acmetest.New(t)
	cfg := config(t, srv, "chat.example.test")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- certs.Serve(ctx, cfg, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	eventually(t, "the service's own certificate", func() bool {
		return certs.NeedACME(cfg, "chat.example.test", time.Now()) == ""
	})
	// Another process orders a certificate with the same directory; the service answers its challenge.
	other := cfg
	other.Hosts = []string{"example.test"}
	if err := certs.Obtain(t.Context(), other, "example.test"); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]int{"/health": 200, "/.well-known/acme-challenge/..%2Facme_account%2Bkey": 404, "/.well-known/acme-challenge/unknown": 404} {
		res, err := http.Get("http://" + cfg.Listen + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestAnAuthorityIsAskedOneThingAtATime(t *testing.T) {
	srv := acmetest.New(t)
	cfg := config(t, srv, "a.example.test", "b.example.test", "c.example.test", "d.example.test")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- certs.Serve(ctx, cfg, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	for _, host := range cfg.Hosts {
		eventually(t, "the certificate of "+host, func() bool { return certs.NeedACME(cfg, host, time.Now()) == "" })
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if n := srv.Together(); n != 1 {
		t.Errorf("%d requests were under way at the same time", n)
	}
}

func TestAPlaceholderNeverReplacesAnything(t *testing.T) {
	dir := t.TempDir()
	if err := certs.Placeholder(dir, "a.test"); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(certs.LivePath(dir, "a.test"))
	st, err := certs.Inspect(dir, "a.test")
	if err != nil || !st.Exists || !st.Placeholder {
		t.Errorf("%+v %v", st, err)
	}
	if err := certs.Placeholder(dir, "a.test"); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(certs.LivePath(dir, "a.test")); string(second) != string(first) {
		t.Error("replaced")
	}
}

func TestTheInternalAuthorityKeepsItsKeyAndRenewsWhatIsOld(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for range 2 {
		if err := certs.IssueInternal(dir, "a.test"); err != nil {
			t.Fatal(err)
		}
		if cause := certs.NeedInternal(dir, "a.test", now); cause != "" {
			t.Errorf("just issued: %q", cause)
		}
	}
	if cause := certs.NeedInternal(dir, "a.test", now.Add(380*24*time.Hour)); !strings.HasPrefix(cause, "expires on ") {
		t.Errorf("old: %q", cause)
	}
	if cause := certs.NeedInternal(dir, "b.test", now); cause != "none on disk" {
		t.Errorf("other: %q", cause)
	}
}

func TestFilesMustBelongTogetherAndToEveryHost(t *testing.T) {
	dir := t.TempDir()
	if err := certs.IssueInternal(dir, "a.test"); err != nil {
		t.Fatal(err)
	}
	pem := certs.LivePath(dir, "a.test")
	if _, err := certs.ReadFiles(pem, pem, []string{"a.test"}, time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := certs.ReadFiles(pem, pem, []string{"a.test", "b.test"}, time.Now()); err == nil || !strings.Contains(err.Error(), "b.test") {
		t.Errorf("other host: %v", err)
	}
	if _, err := certs.ReadFiles(pem, filepath.Join(dir, "internal", "ca.key"), []string{"a.test"}, time.Now()); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("other key: %v", err)
	}
	if _, err := certs.ReadFiles(pem, pem, []string{"a.test"}, time.Now().Add(400*24*time.Hour)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("old: %v", err)
	}
}

// eventually waits until a condition is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("still waiting for %s", what)
		case <-tick.C:
		}
	}
}

func TestACertificateOfAnAuthorityThatIsNoMoreIsObtainedAgain(t *testing.T) {
	srv := acmetest.New(t)
	cfg := config(t, srv, "chat.example.test")
	answered(t, cfg, func() {
		obtain := func() string {
			if err := certs.Obtain(t.Context(), cfg, "chat.example.test"); err != nil {
				t.Fatal(err)
			}
			s, err := certs.Inspect(cfg.Dir, "chat.example.test")
			if err != nil {
				t.Fatal(err)
			}
			return s.Serial
		}
		first := obtain()
		if again := obtain(); again != first {
			t.Error("it was obtained again though nothing has changed")
		}
		// The authority that signs stays the same, but acme_ca_file changes.
		data, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		cfg.CAFile = filepath.Join(t.TempDir(), "other.pem")
		if err := os.WriteFile(cfg.CAFile, append(data, data...), 0o600); err != nil {
			t.Fatal(err)
		}
		if cause := certs.NeedACME(cfg, "chat.example.test", time.Now()); cause != "acme_ca_file has changed, and the certificate on disk is not signed by it" {
			t.Errorf("need: %q", cause)
		}
		second := obtain()
		if second == first {
			t.Error("the old one is still there")
		}
		if cause := certs.NeedACME(cfg, "chat.example.test", time.Now()); cause != "" || obtain() != second {
			t.Errorf("and again: %q", cause)
		}
	})
}

// A certificate that is valid for a quarter of a minute is renewed in time even if the authority
// fails at autocert's own attempt, after which autocert would pause for an hour.
func TestAFailedRenewalIsTriedAgainInTime(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		mustrun.Skip(t, "takes a quarter of a minute; runs without -short")
	}
	srv := acmetest.NewFor(t, 15*time.Second)
	cfg := config(t, srv, "chat.example.test")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- certs.Serve(ctx, cfg, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	defer func() { stop(); <-done }()
	serial := func() string {
		s, err := certs.Inspect(cfg.Dir, "chat.example.test")
		if err != nil {
			t.Fatal(err)
		}
		return s.Serial
	}
	eventually(t, "a certificate", func() bool { return serial() != "" })
	first, obtained := serial(), time.Now()
	srv.Broken(true) // when autocert's timer fires
	orders := srv.Asked("order-plz")
	eventually(t, "a failed renewal", func() bool { return srv.Asked("order-plz") > orders })
	srv.Broken(false)
	eventually(t, "a renewal", func() bool { return serial() != first })
	if since := time.Since(obtained); since > 15*time.Second {
		t.Errorf("renewed after %s", since)
	}
}

// With an authority that creates accounts only for its customers, only the right binding works.
func TestAnAccountIsBoundToTheOperatorsOwn(t *testing.T) {
	const host, keyID, key = "chat.example.test", "customer-7", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	srv := acmetest.NewBound(t, keyID, key)
	cfg := config(t, srv, host)
	file := filepath.Join(t.TempDir(), "hmac")
	ask := func(keyID, key string, mode os.FileMode) (err error) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file, []byte(key+"\n"), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
		cfg.EAB = &certs.Binding{KeyID: keyID, HMACFile: file}
		answered(t, cfg, func() { err = certs.Obtain(t.Context(), cfg, host) })
		return err
	}
	answered(t, cfg, func() {
		err := certs.Obtain(t.Context(), cfg, host)
		refused, ok := errors.AsType[*certs.RefusedError](err)
		if !ok || !strings.HasSuffix(refused.Problem.Type, ":externalAccountRequired") || !strings.Contains(refused.Hint(), "acme_eab_key_id") {
			t.Errorf("without: %v", err)
		}
	})
	for what, err := range map[string]error{
		"of another customer":   ask("customer-8", key, 0o600),
		"with another key":      ask(keyID, "AAAA"+key[4:], 0o600),
		"that everybody sees":   ask(keyID, key, 0o644),
		"that is not in base64": ask(keyID, "äöü", 0o600),
	} {
		if err == nil {
			t.Errorf("a binding %s was good enough", what)
		}
	}
	if err := ask(keyID, key, 0o640); err == nil || !strings.Contains(err.Error(), "can be read by others") {
		t.Errorf("%v", err)
	}
	if err := ask(keyID, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if cause := certs.NeedACME(cfg, host, time.Now()); cause != "" {
		t.Error(cause)
	}
	// Some authorities write keys in another base64 alphabet and with padding.
	for _, written := range []string{"-_8=", "+/8=", "-_8", "  +/8\n"} {
		if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte(written), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := certs.ReadHMAC(file); err != nil {
			t.Errorf("%q: %v", written, err)
		}
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAFullDiskKeepsTheOldCertificate: while a new certificate could not be stored,
// none is ordered, because orders count towards the rate limit. The old one stays,
// and once there is room again the renewal follows by itself.
func TestAFullDiskKeepsTheOldCertificate(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		mustrun.Skip(t, "takes a third of a minute; runs without -short")
	}
	srv := acmetest.NewFor(t, 24*time.Second)
	cfg := config(t, srv, "chat.example.test")
	if err := errors.Join(os.MkdirAll(cfg.Dir, 0o700), syscall.Mount("tmpfs", cfg.Dir, "tmpfs", 0, "size=1m")); err != nil {
		mustrun.Skip(t, "only root can make a full file system: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(cfg.Dir, syscall.MNT_DETACH) })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var log lines
	go func() { done <- certs.Serve(ctx, cfg, slog.New(slog.NewTextHandler(&log, nil))) }()
	defer func() { stop(); <-done }()
	look := func() certs.Status {
		s, err := certs.Inspect(cfg.Dir, "chat.example.test")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	eventually(t, "a certificate", func() bool { return look().Serial != "" })
	first, orders := look(), srv.Asked("order-plz")
	bulk := filepath.Join(cfg.Dir, "bulk")
	if err := os.WriteFile(bulk, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	// Wait until it is overdue, and for some attempts after that.
	eventually(t, "a renewal that is overdue, and said", func() bool {
		return strings.Contains(log.String(), "is full, so the authority was not asked")
	})
	if asked := srv.Asked("order-plz"); asked != orders {
		t.Errorf("the authority was asked %d times for what could not be kept", asked-orders)
	}
	pem, err := os.ReadFile(certs.LivePath(cfg.Dir, "chat.example.test"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(pem, pem); err != nil || look().Serial != first.Serial {
		t.Errorf("the old certificate is not there any more: %v", err)
	}
	if err := os.Remove(bulk); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a renewal", func() bool { return look().Serial != first.Serial })
}
