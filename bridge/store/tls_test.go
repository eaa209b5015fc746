package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/store"
)

// authority is a test's own certificate authority, with a certificate for a server on this machine.
type authority struct{ ca, cert, key []byte }

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	keys := [2]*ecdsa.PrivateKey{}
	for i := range keys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "postgres"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	ca, err := x509.CreateCertificate(rand.Reader, root, root, keys[0].Public(), keys[0])
	cert, cerr := x509.CreateCertificate(rand.Reader, leaf, root, keys[1].Public(), keys[0])
	key, kerr := x509.MarshalPKCS8PrivateKey(keys[1])
	if err := errors.Join(err, cerr, kerr); err != nil {
		t.Fatal(err)
	}
	block := func(kind string, data []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}) }
	return authority{block("CERTIFICATE", ca), block("CERTIFICATE", cert), block("PRIVATE KEY", key)}
}

// strict starts a PostgreSQL that accepts only connections with TLS, and returns its address.
func strict(t *testing.T, a authority) *url.URL {
	t.Helper()
	image := os.Getenv("POSTGRES_IMAGE")
	if _, err := exec.LookPath("docker"); err != nil || image == "" || os.Geteuid() != 0 {
		mustrun.Skip(t, "this needs root, Docker and POSTGRES_IMAGE, the name of an image of PostgreSQL, which make test gives")
	}
	const postgres = 999 // the user of the image
	dir := t.TempDir()
	for name, data := range map[string][]byte{"cert.pem": a.cert, "key.pem": a.key, "hba": []byte("local all all trust\nhostssl all all all scram-sha-256\n"), "password": []byte("only-for-tests")} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, data, 0o600), os.Chown(file, postgres, postgres)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // the server reads from it
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	name := fmt.Sprint("appliance-test-tls-", os.Getpid())
	t.Cleanup(func() {
		_ = exec.Command("docker", "rm", "-f", "-v", name).Run() //nolint:noctx // the test has ended
	})
	run("run", "-d", "--rm", "--name", name, "--user", fmt.Sprintf("%d:%d", postgres, postgres), "-p", "127.0.0.1::5432",
		"--tmpfs", "/var/lib/postgresql/data:uid=999,gid=999", "-v", dir+":/tls:ro", "-e", "POSTGRES_PASSWORD_FILE=/tls/password", image,
		"postgres", "-c", "fsync=off", "-c", "ssl=on", "-c", "ssl_cert_file=/tls/cert.pem", "-c", "ssl_key_file=/tls/key.pem", "-c", "hba_file=/tls/hba")
	_, port, err := net.SplitHostPort(strings.Fields(run("port", name, "5432/tcp"))[0])
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "postgres", User: url.UserPassword("postgres", "only-for-tests"), Host: "localhost:" + port, Path: "/postgres"}
	for end := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		err := exec.CommandContext(t.Context(), "docker", "exec", name, "pg_isready", "-q", "-h", "127.0.0.1").Run()
		if err == nil {
			return u
		}
		if time.Now().After(end) {
			t.Fatalf("PostgreSQL does not answer: %v: %s", err, run("logs", name))
		}
	}
}

// A PostgreSQL that requires TLS, with a certificate from an authority of the operator's own,
// is used if the address names that authority. Otherwise an error says what is wrong.
func TestAPostgreSQLWithAnAuthorityOfItsOwn(t *testing.T) {
	t.Parallel()
	right, wrong := newAuthority(t, "Right"), newAuthority(t, "Wrong")
	server := strict(t, right)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	with := func(host string, query ...string) string {
		u := *server
		u.Host = strings.Replace(u.Host, "localhost", host, 1)
		u.RawQuery = strings.Join(query, "&")
		return u.String()
	}
	ca := "sslrootcert=" + file("right.pem", right.ca)
	for name, tc := range map[string]struct {
		address string
		words   []string
	}{
		"another authority": {with("localhost", "sslmode=verify-full", "sslrootcert="+file("wrong.pem", wrong.ca)), []string{"not from the authorities", "bridge_database_ca_file", "sslrootcert"}},
		"no authority":      {with("localhost", "sslmode=verify-full"), []string{"not from the authorities", "bridge_database_ca_file"}},
		"another name":      {with("127.0.0.1", "sslmode=verify-full", ca), []string{"certificate for another name", "127.0.0.1"}},
		"without TLS":       {with("localhost", "sslmode=disable"), []string{"no connections without TLS", "sslmode=verify-full"}},
		"no such file":      {with("localhost", "sslmode=verify-full", "sslrootcert="+filepath.Join(dir, "none.pem")), []string{"cannot be read", "none.pem", "bridge_database_ca_file"}},
		"no certificate":    {with("localhost", "sslmode=verify-full", "sslrootcert="+file("text.pem", []byte("none"))), []string{"holds no certificate", "text.pem"}},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, tc.address, append(tc.words, "postgres on ")...) })
	}
	for _, mode := range []string{"verify-full", "verify-ca"} {
		s, err := store.Open(t.Context(), with("localhost", "sslmode="+mode, ca))
		if err != nil {
			t.Fatalf("%s with the right authority: %v", mode, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A server without TLS is not used if the address asks for TLS.
func TestAPostgreSQLWithoutTLSIsRefusedWhereTLSIsWanted(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(postgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = "sslmode=require"
	refuses(t, u.String(), "has no TLS", "ssl=on")
}
