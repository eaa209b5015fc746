package offsite_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// TestMain lets the test binary act as a server in a process of its own, so that the
// memory of the client can be measured.
func TestMain(m *testing.M) {
	switch os.Getenv("OFFSITE_SERVER") {
	case "s3":
		serveS3()
	case "sftp":
		serveSFTP()
	default:
		os.Exit(m.Run())
	}
}

// server starts the test binary as a server and returns what it prints first.
func server(t *testing.T, kind string, env ...string) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "OFFSITE_SERVER="+kind), env...)
	in, err := cmd.StdinPipe() // closing it stops the server
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitN(strings.TrimSpace(line), " ", 2)
}

// serving prints what a test needs to know, and returns when the test ends.
func serving(what ...any) {
	fmt.Println(what...)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func serveS3() {
	skew := gofakes3.DefaultSkewLimit
	options := []gofakes3.Option{gofakes3.WithTimeSkewLimit(skew)}
	if os.Getenv("OFFSITE_YEAR") != "" {
		options = append(options, gofakes3.WithTimeSource(gofakes3.FixedTimeSource(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))))
	}
	backend := s3mem.New()
	_ = backend.CreateBucket("backups")
	srv := httptest.NewTLSServer(gofakes3.New(backend, options...).Server())
	serving(strings.TrimPrefix(srv.URL, "https://"))
}

// serveSFTP is an SSH server that accepts the key in OFFSITE_USER_KEY and serves files.
func serveSFTP() {
	known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(os.Getenv("OFFSITE_USER_KEY")))
	if err != nil {
		panic(err)
	}
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	host, _ := ssh.NewSignerFromKey(private)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(known.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go session(c, config)
		}
	}()
	serving(ln.Addr(), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host.PublicKey()))))
}

func session(c net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		channel, asked, err := n.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range asked {
				_ = r.Reply(r.Type == "subsystem", nil)
			}
		}()
		srv, err := sftp.NewServer(channel)
		if err != nil {
			return
		}
		go func() { _ = srv.Serve(); _ = channel.Close() }()
	}
}

// roots returns a pool that trusts the S3 server, which uses the certificate of httptest.
func roots(t *testing.T) *x509.CertPool {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return pool
}

// A door is a proxy in front of an S3 server that can refuse requests as S3 does.
type door struct {
	code   atomic.Value // of the error, "" for none
	status atomic.Int32
	tried  atomic.Int32
}

func (d *door) refuse(status int, code string) {
	d.status.Store(int32(status)) //nolint:gosec // small
	d.code.Store(code)
	d.tried.Store(0)
}

// open starts the door in front of an S3 server and returns its address.
func (d *door) open(t *testing.T, behind string) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: behind})
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots(t)}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, _ := d.code.Load().(string); code != "" && r.Method != http.MethodGet {
			d.tried.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(int(d.status.Load()))
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s, it says.</Message></Error>`, code, code)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// userKey creates a private key in a file, and returns its public part too.
func userKey(t *testing.T) (file, public string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, t.TempDir(), "key", string(pem.EncodeToMemory(block))), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// large creates a file of size bytes that cannot be compressed.
func large(t *testing.T, size int64) (file string, sum [sha256.Size]byte) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "chat.example.test-20260101T000000Z.tar.zst.age")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	chunk := make([]byte, 1<<20)
	_, _ = rand.Read(chunk)
	for n := int64(0); n < size; n += int64(len(chunk)) {
		chunk[n>>20&0xfffff]++ // each one differs
		if _, err := io.MultiWriter(f, h).Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file, [sha256.Size]byte(h.Sum(nil))
}
