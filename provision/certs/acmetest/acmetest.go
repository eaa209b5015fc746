// Package acmetest runs a real ACME certificate authority inside the test process. It wraps
// Pebble, so nonce rejection, random validation order and the rest of Pebble's deliberate
// unpleasantness apply to our client. Every name resolves to this machine, except those under
// ".invalid".
package acmetest

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// Server is a running certificate authority.
type Server struct {
	Directory string // the ACME directory URL to give to the client
	CAFile    string // trusts the directory's own certificate
	HTTPPort  int    // where challenges are fetched from

	store  *db.MemoryStore
	mu     sync.Mutex
	now    int            // requests being answered
	most   int            // the most there ever were
	asked  map[string]int // requests by the first part of their path
	broken bool
	busy   time.Duration // answer 429 with this Retry-After to new orders
}

// New starts an authority that validates http-01 challenges on a free local
// port. It stops when the test ends.
func New(tb testing.TB) *Server {
	tb.Helper()
	return NewFor(tb, 90*24*time.Hour)
}

// NewFor starts an authority whose certificates have the given life.
func NewFor(tb testing.TB, life time.Duration) *Server {
	tb.Helper()
	return start(tb, life, false)
}

// NewBound starts an authority that creates accounts only for those who already have one with
// it, identified by this key ID and this HMAC key in base64.
func NewBound(tb testing.TB, keyID, key string) *Server {
	tb.Helper()
	s := start(tb, 90*24*time.Hour, true)
	if err := s.store.AddExternalAccountKeyByID(keyID, key); err != nil {
		tb.Fatal(err)
	}
	return s
}

// atOnce keeps Pebble from waiting before it validates. The environment variable applies to the
// whole process, so also to tests that run in parallel.
var atOnce = sync.OnceValue(func() error { return os.Setenv("PEBBLE_VA_NOSLEEP", "1") })

func start(tb testing.TB, life time.Duration, bound bool) *Server {
	tb.Helper()
	if err := atOnce(); err != nil {
		tb.Fatal(err)
	}
	logger := log.New(io.Discard, "", 0)
	s := &Server{HTTPPort: FreePort(tb), store: db.NewMemoryStore(), asked: map[string]int{}}
	authority := ca.New(logger, s.store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default", ValidityPeriod: uint64(life.Seconds())}})
	validator := va.New(logger, s.HTTPPort, FreePort(tb), false, nameServer(tb), s.store)
	front := wfe.New(logger, s.store, validator, authority, []string{"test.invalid"}, false, bound, 1, 1)

	srv := httptest.NewUnstartedServer(s.watch(front.Handler()))
	srv.Config.ErrorLog = logger
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	tb.Cleanup(srv.Close)
	s.Directory = srv.URL + wfe.DirectoryPath
	s.CAFile = filepath.Join(tb.TempDir(), "directory-ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(s.CAFile, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Block makes the authority refuse a domain for policy.
func (s *Server) Block(tb testing.TB, domain string) {
	tb.Helper()
	if err := s.store.AddBlockedDomain(domain); err != nil {
		tb.Fatal(err)
	}
}

// Busy makes the authority refuse new orders and ask to come back later. Zero
// ends that. Pebble has no rate limits of its own.
func (s *Server) Busy(retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = retryAfter
}

// Broken makes the authority reject new orders without saying when to come back.
func (s *Server) Broken(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = yes
}

// Asked returns how many requests came for a part of the protocol, such as "order-plz" (new
// orders), not counting those whose nonce Pebble rejected.
func (s *Server) Asked(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[part]
}

// Together returns how many requests, at most, were under way at the same time.
func (s *Server) Together() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// begin counts a request as under way until end is called.
func (s *Server) begin() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now++
	s.most = max(s.most, s.now)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}
}

func (s *Server) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.begin()()
		part, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		s.mu.Lock()
		busy, broken := s.busy, s.broken
		s.mu.Unlock()
		if broken && part == "order-plz" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"type":"urn:ietf:params:acme:error:unauthorized","detail":"out of order"}`)
			s.count(part)
			return
		}
		if busy > 0 && part == "order-plz" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", strconv.Itoa(int(busy.Seconds())))
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many failed authorizations recently"}`)
			s.count(part)
			return
		}
		answer := &answer{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		if !answer.badNonce {
			s.count(part)
		}
	})
}

func (s *Server) count(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[part]++
}

// An answer detects that Pebble rejected a nonce, which it does for practice.
type answer struct {
	http.ResponseWriter
	badNonce bool
}

func (a *answer) Write(p []byte) (int, error) {
	a.badNonce = a.badNonce || bytes.Contains(p, []byte(":badNonce"))
	return a.ResponseWriter.Write(p)
}

// nameServer starts a server that resolves every name to 127.0.0.1, except those that end in
// ".invalid", which do not exist.
func nameServer(tb testing.TB) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // Pebble queries over TCP
	if err != nil {
		tb.Fatal(err)
	}
	srv := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(resolve)}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ActivateAndServe() }()
	tb.Cleanup(func() { _ = srv.Shutdown(); <-done })
	return ln.Addr().String()
}

func resolve(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	name := q.Question[0].Name
	switch {
	case strings.HasSuffix(name, ".invalid."):
		m.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1),
		})
	}
	_ = w.WriteMsg(m)
}

// FreePort returns a loopback port on which nothing listens. It is not one of those that the
// kernel gives to outgoing connections: on a busy machine a connection could take it before the
// server that it is meant for. Until the test ends no other test gets it, in this process or
// another.
func FreePort(tb testing.TB) int {
	tb.Helper()
	dir := filepath.Join(os.TempDir(), "appliance-test-ports") // other packages' tests lock there too
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	for range 1000 {
		port := 12_000 + rand.IntN(17_000)                                                               //nolint:gosec // no secret; below the port of an installed bridge, 29328
		lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDONLY, 0o600) //nolint:gosec // a number
		if err != nil {
			tb.Fatal(err)
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = ln.Close()
			err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor
		}
		if err == nil {
			tb.Cleanup(func() { _ = lock.Close() })
			return port
		}
		_ = lock.Close()
	}
	tb.Fatal("no port is free")
	return 0
}
