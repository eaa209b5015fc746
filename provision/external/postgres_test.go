package external_test

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
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/answers"
	"appliance/provision/external"
	"appliance/provision/finding"
)

// server is a PostgreSQL with TLS in a container of its own.
type server struct {
	t          *testing.T
	name, host string
	ca, other  string // files: the authority of its certificate, and another one
}

// newServer starts a PostgreSQL whose certificate is for its address.
func newServer(t *testing.T) *server {
	t.Helper()
	if os.Getenv("APPLIANCE_TEST_POSTGRES") == "" {
		mustrun.Skip(t, "it starts a PostgreSQL with Docker; make test does and runs this")
	}
	versions, err := os.ReadFile("../../compose/versions.env")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`(?m)^POSTGRES_IMAGE=(\S+)$`).FindSubmatch(versions)
	if image == nil {
		t.Fatal("compose/versions.env names no image of PostgreSQL")
	}
	s := &server{t: t, name: fmt.Sprintf("appliance-test-external-%d", time.Now().UnixNano())}
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", s.name).Run() }) //nolint:gosec // our own name
	// The container waits for its certificate, which needs its address.
	s.docker("run", "-d", "--name", s.name, "--user", "999:999", "--shm-size", "64m", "--tmpfs", "/var/lib/postgresql/data:uid=999,gid=999,mode=0700", "--tmpfs", "/tls:uid=999,gid=999",
		"--entrypoint", "sh", string(image[1]), "-c", `initdb --pgdata "$PGDATA" --username postgres --auth trust --locale en_US.UTF-8 --encoding UTF8 || initdb --pgdata "$PGDATA" --username postgres --auth trust --locale C.UTF-8 --encoding UTF8
chmod 0700 "$PGDATA"
until [ -s /tls/done ]; do sleep 0.1; done
printf 'local all all trust\nhostssl all all all scram-sha-256\n' >"$PGDATA/pg_hba.conf"
exec postgres -c listen_addresses='*' -c ssl=on -c ssl_cert_file=/tls/cert.pem -c ssl_key_file=/tls/key.pem`)
	s.host = s.docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", s.name)
	dir := t.TempDir()
	s.ca, s.other = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "other.pem")
	key, cert := certificate(t, s.ca, s.host)
	certificate(t, s.other, s.host)
	s.put("/tls/key.pem", key)
	s.put("/tls/cert.pem", cert)
	s.put("/tls/done", "yes")
	for deadline := time.Now().Add(time.Minute); exec.CommandContext(t.Context(), "docker", "exec", s.name, "pg_isready", "-q").Run() != nil; { //nolint:gosec // our own name
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL does not answer: %s", s.docker("logs", s.name))
		}
		<-time.After(100 * time.Millisecond)
	}
	s.sql(`CREATE USER homeserver PASSWORD 'right'`)
	return s
}

// certificate writes an authority to file, and returns a key and a certificate it issued for host.
func certificate(t *testing.T, file, host string) (key, cert string) {
	t.Helper()
	make := func(parent *x509.Certificate, signer *ecdsa.PrivateKey, c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		c.SerialNumber = big.NewInt(time.Now().UnixNano())
		if parent == nil {
			parent, signer = c, own
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &own.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return own, out
	}
	caKey, ca := make(nil, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	own, leaf := make(ca, caKey, &x509.Certificate{Subject: pkix.Name{CommonName: "postgres"}, IPAddresses: []net.IP{net.ParseIP(host)}})
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	if err := os.WriteFile(file, []byte(text("CERTIFICATE", ca.Raw)), 0o600); err != nil {
		t.Fatal(err)
	}
	return text("PRIVATE KEY", der), text("CERTIFICATE", leaf.Raw)
}

func (s *server) docker(args ...string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "docker", args...).CombinedOutput() //nolint:gosec // arguments of this file
	if err != nil {
		s.t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// put writes a file that only the server's user can read.
func (s *server) put(name, text string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "docker", "exec", "-i", s.name, "sh", "-c", `umask 077; cat >"$1"`, "sh", name) //nolint:gosec // names of this file
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

func (s *server) sql(statements ...string) {
	s.t.Helper()
	for _, statement := range statements {
		s.in("postgres", statement)
	}
}

func (s *server) in(database, statement string) {
	s.t.Helper()
	s.docker("exec", s.name, "psql", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-qc", statement)
}

// answer returns answers that name a database of the server.
func (s *server) answer(kind, password, database, query, ca string) answers.Answers {
	s.t.Helper()
	d := answers.NewDraft()
	for _, answer := range []string{
		"domain=chat.example.org", "email=ops@example.org", "homeserver=" + kind, "homeserver_database_ca_file=" + ca,
		fmt.Sprintf("homeserver_database=postgres://homeserver:%s@%s/%s%s", password, s.host, database, query),
	} {
		d.Assign(answer)
	}
	a, err := d.Finish()
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// Whatever keeps a homeserver from using the operator's PostgreSQL is reported before anything is
// changed, with the key of the answer and what to do.
func TestAnExternalPostgreSQLIsLookedAtFirst(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, name := range []string{"good"} {
		s.sql(`CREATE DATABASE ` + name + ` OWNER homeserver TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'`)
	}
	s.sql(`CREATE DATABASE latin OWNER homeserver TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`,
		`CREATE DATABASE collated OWNER homeserver`, `CREATE DATABASE closed TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'`)
	for name, c := range map[string]struct {
		a                 answers.Answers
		summary, why, fix string // "" means no failure
	}{
		"good, Dendrite":     {a: s.answer("dendrite", "right", "good", "", s.ca)},
		"good, Synapse":      {a: s.answer("synapse", "right", "good", "", s.ca)},
		"unverified":         {a: s.answer("dendrite", "right", "good", "?sslmode=require", "")},
		"any name":           {a: s.answer("dendrite", "right", "good", "?sslmode=verify-ca", s.ca)},
		"collated, Dendrite": {a: s.answer("dendrite", "right", "collated", "", s.ca)},
		"wrong password":     {s.answer("dendrite", "wrong", "good", "", s.ca), "the homeserver cannot use the PostgreSQL of homeserver_database", "does not accept the user or the password", "appliance config edit"},
		"another authority":  {s.answer("dendrite", "right", "good", "", s.other), "", "which " + s.other + " does not have", "homeserver_database_ca_file"},
		"no TLS":             {s.answer("dendrite", "right", "good", "?sslmode=disable", ""), "", "takes no connections without TLS", "sslmode=disable"},
		"no database":        {s.answer("dendrite", "right", "missing", "", s.ca), "", "has no such database", "CREATE DATABASE"},
		"encoding":           {s.answer("dendrite", "right", "latin", "", s.ca), "", "has the encoding SQL_ASCII", `CREATE DATABASE "latin"`},
		"collation":          {s.answer("synapse", "right", "collated", "", s.ca), "", "needs C for both", `LC_COLLATE 'C'`},
		"rights":             {s.answer("dendrite", "right", "closed", "", s.ca), "", "may not create tables", `ALTER DATABASE "closed" OWNER TO "homeserver"`},
	} {
		t.Run(name, func(t *testing.T) {
			checks := external.Checks(c.a)
			if len(checks) != 1 || checks[0].Name != "homeserver-database" {
				t.Fatalf("checks %v", checks)
			}
			got := checks[0].Run(t.Context())
			if c.why == "" {
				if got.Severity != finding.OK {
					t.Errorf("%+v", got)
				}
				return
			}
			if got.Severity != finding.Fail || !strings.Contains(got.Summary, c.summary) || !strings.Contains(got.Why, c.why) || !strings.Contains(got.Fix, c.fix) {
				t.Errorf("%+v; want %q, %q, %q", got, c.summary, c.why, c.fix)
			}
			if strings.Contains(got.Summary+got.Why+got.Fix, "right") || strings.Contains(got.Summary+got.Why+got.Fix, "wrong") {
				t.Errorf("the password is shown: %+v", got)
			}
		})
	}
}

// A homeserver starts in an empty database. It takes over an existing one only if that is declared
// to hold the data of this installation, and does.
func TestADatabaseOfSomethingElseIsNotUsed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, name := range []string{"empty", "shop", "ours", "begun", "quiet"} {
		s.sql(`CREATE DATABASE ` + name + ` OWNER homeserver TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'`)
	}
	s.in("shop", `SET ROLE homeserver; CREATE TABLE shop (id int)`)
	for _, name := range []string{"ours", "begun", "quiet"} {
		s.in(name, `SET ROLE homeserver; CREATE TABLE roomserver_events (event_nid bigint)`)
	}
	s.in("quiet", `SET ROLE homeserver; CREATE TABLE userapi_accounts AS SELECT 1 AS n`)
	s.in("ours", `INSERT INTO roomserver_events VALUES (1)`)
	for name, want := range map[string]struct {
		holds         external.Holds
		fresh, copied string
	}{
		"empty": {external.Nothing, "", "has nothing of the homeserver's data"},
		"begun": {external.Unused, "", "has nothing of the homeserver's data"},
		"ours":  {external.Homeserver, "has the data of a homeserver", ""},
		"quiet": {external.Homeserver, "has the data of a homeserver", ""},
		"shop":  {external.Other, "has tables of another program", "has tables of another program"},
	} {
		a := s.answer("dendrite", "right", name, "", s.ca)
		if got, err := external.Look(t.Context(), a); err != nil || got != want.holds {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want.holds)
		}
		for copied, why := range map[bool]string{false: want.fresh, true: want.copied} {
			err := external.Usable(t.Context(), a, copied)
			if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
				t.Errorf("%s, copied %t: %v; want %q", name, copied, err, why)
			}
			if e, ok := errors.AsType[*external.Error](err); err != nil && (!ok || e.Hint() == "" || strings.Contains(e.Error()+e.Hint(), "right@")) {
				t.Errorf("%s: no hint, or a password: %v", name, err)
			}
		}
	}
}
