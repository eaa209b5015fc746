// Package mxtest runs real Matrix homeservers for tests, Dendrite and Synapse, on
// loopback, on PostgreSQL as in production, and with TLS between servers, so that
// federation is real too. Environment variables name the programs and the database
// server; `make test` provides all of them. If they name none, package hermetic
// stands in for both kinds.
package mxtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest/hermetic"
)

// Server is a homeserver. Its fields are set by New.
type Server struct {
	Name string // server name: "localhost:41234"; other test servers reach it there
	URL  string // client-server API
	Kind string // as in bridge.yaml
	// Software is the program that runs.
	Software Software
	// RoomVersion is the version of the rooms created on this server; set it before
	// Start. "" is the server's own default.
	RoomVersion string
	// Amend is SQL to run in a real server's database after its first start; set it before
	// Start.
	Amend string
	// Rude is the seed of a rude hermetic server, 0 for a polite one; set it before
	// Start. Real servers are as they are.
	Rude uint64
	// Beside is the registration file of another application service of a Dendrite; set it
	// before Start.
	Beside string

	tb       testing.TB
	hermetic *hermetic.Server // replaces everything that follows
	dir      string
	database string
	ports    [2]int // client-server API, federation
	running  *process
}

// runner runs a kind of software.
type runner interface {
	// needs returns the environment variables that must be set.
	needs() []string
	// program returns a file that differs if the program does.
	program() string
	// unsettled returns the query for how much the server has yet to do in a new database
	// after its start, "" if nothing.
	unsettled() string
	// files returns the configuration files, by name in the server's directory.
	files(s *Server, registration string) map[string]string
	// start runs the server in its directory; its output goes to the log.
	start(s *Server, log *os.File) (*process, error)
}

// process is a running homeserver.
type process struct {
	pid   int
	ended <-chan struct{}
}

// spawn runs a command until it ends, at the latest when this process does.
func spawn(cmd *exec.Cmd, dir string, log *os.File) (*process, error) {
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	return &process{cmd.Process.Pid, ended}, nil
}

const sharedSecret = "only-for-tests"

// New prepares a homeserver of a kind. Use its Name in a registration before
// Start.
func New(tb testing.TB, kind string) *Server {
	tb.Helper()
	software := SoftwareOf(kind)
	if software.run == nil {
		tb.Fatalf("there is no homeserver %q", kind)
	}
	if Hermetic() {
		return (&Server{tb: tb, Kind: kind, Software: software}).prepareHermetic()
	}
	for _, name := range append(software.run.needs(), "APPLIANCE_TEST_POSTGRES") {
		if os.Getenv(name) == "" {
			mustrun.Skip(tb, name+" is not set; make test sets it and runs this")
		}
	}
	return prepare(tb, kind, schema(tb, kind))
}

// prepare is New for a real server whose database is a copy of another one.
func prepare(tb testing.TB, kind, template string) *Server {
	tb.Helper()
	s := &Server{tb: tb, Kind: kind, Software: SoftwareOf(kind)}
	s.database, s.dir, s.ports = database(tb, template), tb.TempDir(), [2]int{FreePort(tb), FreePort(tb)}
	s.Name = "localhost:" + strconv.Itoa(s.ports[1])
	s.URL = "http://localhost:" + strconv.Itoa(s.ports[0])
	return s
}

// Database returns the address of the server's PostgreSQL database.
func (s *Server) Database() string {
	s.tb.Helper()
	if s.hermetic != nil {
		mustrun.Skip(s.tb, "a hermetic homeserver has no database; make test runs this with real ones")
	}
	return s.database
}

// Start writes the configuration, starts the server and waits until it responds.
// registration is the content of an application service's registration file; ""
// means none.
func (s *Server) Start(registration string) *Server {
	s.tb.Helper()
	if s.hermetic != nil {
		return s.startHermetic(registration)
	}
	cert, key := certificate(s.tb)
	s.write("tls.crt", cert)
	s.write("tls.key", key)
	if registration != "" {
		s.write("registration.yaml", registration)
	}
	if s.Beside != "" {
		s.write("beside.yaml", s.Beside)
	}
	for name, text := range s.Software.run.files(s, registration) {
		s.write(name, text)
	}
	s.tb.Cleanup(func() {
		s.Kill()
		if s.tb.Failed() {
			s.tb.Logf("the end of the log of %s, %s:\n%s", s.Kind, s.Name, s.log(5000))
		}
	})
	s.Launch()
	if s.Amend != "" {
		s.amend()
	}
	return s
}

func (s *Server) amend() {
	s.tb.Helper()
	conn, err := pgx.Connect(s.tb.Context(), s.database)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = conn.Close(s.tb.Context()) }()
	if _, err := conn.Exec(s.tb.Context(), s.Amend); err != nil {
		s.tb.Fatal(err)
	}
}

// Launch starts the server again after Kill, with everything it had stored.
func (s *Server) Launch() {
	s.tb.Helper()
	if s.hermetic != nil {
		if err := s.hermetic.Launch(); err != nil {
			s.tb.Fatal(err)
		}
		return
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.tb.Fatal(err)
	}
	running, err := s.Software.run.start(s, log)
	if _ = log.Close(); err != nil {
		s.tb.Fatal(err)
	}
	s.running = running
	WaitFor(s.tb, s.Kind+" to answer", func() bool {
		select {
		case <-running.ended:
			s.tb.Fatalf("%s ended:\n%s", s.Kind, s.log(4000))
		default:
		}
		res, err := http.Get(s.URL + "/_matrix/client/versions")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() {
	if s.hermetic != nil {
		s.hermetic.Stop()
	}
	if s.running != nil {
		select {
		case <-s.running.ended:
		default:
			_ = syscall.Kill(s.running.pid, syscall.SIGKILL)
			<-s.running.ended
		}
		s.running = nil
	}
}

// Connections counts the open files and connections of the server.
func (s *Server) Connections() int {
	s.tb.Helper()
	if s.hermetic != nil {
		return s.hermetic.Connections()
	}
	open, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(s.running.pid), "fd"))
	if err != nil {
		s.tb.Fatal(err)
	}
	return len(open)
}

// log returns the end of the server's output.
func (s *Server) log(size int) []byte {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return text[max(0, len(text)-size):]
}

func (s *Server) write(name, text string) {
	s.tb.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

// database creates a database for one server, as a copy of another one, and returns its address.
func database(tb testing.TB, template string) string {
	tb.Helper()
	server, err := url.Parse(os.Getenv("APPLIANCE_TEST_POSTGRES"))
	if err != nil {
		tb.Fatal(err)
	}
	name := "homeserver_" + strings.ToLower(rand.Text())
	run := func(ctx context.Context, statement string) error {
		// A server that does not respond would block the test until it is stopped without a reason.
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, server.String())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, statement)
		return err
	}
	if err := run(tb.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template+" ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = run(context.WithoutCancel(tb.Context()), "DROP DATABASE "+name+" WITH (FORCE)") })
	own := *server
	own.Path = "/" + name
	return own.String()
}

func certificate(tb testing.TB) (cert, key string) {
	tb.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &priv.PublicKey, priv)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

// FreePort returns a loopback port that nobody listens on, outside the range used
// for connections. Until the test ends no other test gets it, in this process or
// another: servers take a while to start listening, and some are restarted.
func FreePort(tb testing.TB) int {
	tb.Helper()
	dir := filepath.Join(os.TempDir(), "appliance-test-ports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	for range 1000 {
		port := strconv.Itoa(12000 + mrand.IntN(17000)) // below the port of an installed bridge, 29328
		lock, err := os.OpenFile(filepath.Join(dir, port), os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil {
			tb.Fatal(err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil { //nolint:gosec // a descriptor
			_ = lock.Close()
			continue
		}
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			_ = lock.Close()
			continue
		}
		_ = ln.Close()
		tb.Cleanup(func() { _ = lock.Close() })
		return ln.Addr().(*net.TCPAddr).Port
	}
	tb.Fatal("no port is free")
	return 0
}

// WaitFor polls until ok returns true, and fails the test after a minute.
func WaitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for wait := 5 * time.Millisecond; !ok(); wait = min(2*wait, 200*time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited a minute for %s", what)
		}
		<-time.After(wait)
	}
}
