package external_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/provision/answers"
	"appliance/provision/external"
	"appliance/provision/external/mongotest"
	"appliance/provision/finding"
)

// hardPassword contains every character that must be escaped in a URL.
const hardPassword = "p@ss/w:rd?%&#"

// issue creates a certificate authority, stored in caFile, and a certificate issued by it.
func issue(t *testing.T, until time.Time, names ...string) (cert tls.Certificate, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of " + t.Name()}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mongo"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	whole, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: whole}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, caFile
}

// address returns the address at which containers would reach this host.
func address(t *testing.T) string {
	t.Helper()
	at, err := mongotest.Address()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// mongo starts a stand-in for MongoDB; alter changes its usual properties.
func mongo(t *testing.T, secure *tls.Config, alter func(*mongotest.Server)) *mongotest.Server {
	t.Helper()
	s := &mongotest.Server{Version: "8.0.12", Set: "rs0", User: "rocketchat", Password: hardPassword, Database: "rocketchat"}
	if alter != nil {
		alter(s)
	}
	if err := s.Start(net.JoinHostPort(address(t), "0"), secure); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answersFor returns answers that name a MongoDB.
func answersFor(t *testing.T, address, caFile string) answers.Answers {
	t.Helper()
	d := answers.NewDraft()
	for _, answer := range []string{"domain=chat.example.org", "email=ops@example.org", "mongo_url=" + address, "mongo_ca_file=" + caFile} {
		d.Assign(answer)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// lookAt runs the check of a MongoDB, and fails the test if the finding shows a password.
func lookAt(t *testing.T, a answers.Answers) finding.Finding {
	t.Helper()
	checks := external.Checks(a)
	if len(checks) != 1 || checks[0].Name != "mongo" {
		t.Fatalf("checks %v", checks)
	}
	f := checks[0].Run(t.Context())
	for _, spelling := range []string{hardPassword, url.QueryEscape(hardPassword), "wrong-password"} {
		if strings.Contains(f.Summary+f.Why+f.Fix, spelling) {
			t.Errorf("the password is shown: %+v", f)
		}
	}
	if f.Severity == finding.Fail && !slices.Equal(f.Explains, []string{"rocketchat", "bridge"}) {
		t.Errorf("it explains %q", f.Explains)
	}
	return f
}

// Whatever keeps Rocket.Chat from using the operator's MongoDB is reported before anything is
// changed, with what to do. The server here is a stand-in that answers as MongoDB does.
func TestAnExternalMongoDBIsLookedAtFirst(t *testing.T) {
	t.Parallel()
	at := address(t)
	soon := time.Now().Add(time.Hour)
	cert, ca := issue(t, soon, at)
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	_, other := issue(t, soon, at)
	elsewhere, elsewhereCA := issue(t, soon, "db.example.org")
	old, oldCA := issue(t, time.Now().Add(-time.Minute), at)
	user := "mongodb://rocketchat:" + url.QueryEscape(hardPassword) + "@"
	const query = "/rocketchat?authSource=admin&replicaSet=rs0"
	silent, err := net.Listen("tcp", net.JoinHostPort(at, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // it only listens
	free, err := net.Listen("tcp", net.JoinHostPort(at, "0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	ssh, err := net.Listen("tcp", net.JoinHostPort(at, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.Close() //nolint:errcheck // it only listens
	go func() {
		for {
			conn, err := ssh.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
			go io.Copy(io.Discard, conn) //nolint:errcheck // until the other side has had enough
		}
	}()

	type change = func(*mongotest.Server)
	noUser := func(s *mongotest.Server) { s.User, s.Password = "", "" }
	good := mongo(t, secure, nil)
	for name, c := range map[string]struct {
		secure   *tls.Config
		alter    change
		url      string // HOST is the address of the server
		ca       string
		why, fix string // "" means no failure
	}{
		"good":                 {secure: secure, url: user + "HOST" + query, ca: ca},
		"one of two is down":   {secure: secure, url: user + free.Addr().String() + ",HOST" + query, ca: ca},
		"no TLS, no user":      {alter: noUser, url: "mongodb://HOST/rocketchat"},
		"any name":             {secure: &tls.Config{Certificates: []tls.Certificate{elsewhere}}, url: user + "HOST" + query + "&tlsAllowInvalidHostnames=true", ca: elsewhereCA}, //nolint:gosec // a server
		"any certificate":      {secure: secure, url: user + "HOST" + query + "&tls=true&tlsInsecure=true"},
		"wrong password":       {secure: secure, url: "mongodb://rocketchat:wrong-password@HOST" + query, ca: ca, why: "does not accept the user or the password; it looked for the user in the database admin", fix: "appliance config set mongo_url="},
		"unknown user":         {secure: secure, url: "mongodb://nobody:wrong-password@HOST" + query, ca: ca, why: "does not accept the user or the password"},
		"no user":              {secure: secure, url: "mongodb://HOST" + query, ca: ca, why: "lets nobody in without a user", fix: "appliance config set mongo_url=mongodb://user:password@host/rocketchat"},
		"another authority":    {secure: secure, url: user + "HOST" + query, ca: other, why: "which " + other + " does not have", fix: "mongo_ca_file"},
		"an unknown authority": {secure: secure, url: user + "HOST" + query + "&tls=true", why: "which this host does not have", fix: "appliance config set mongo_ca_file="},
		"another name":         {secure: &tls.Config{Certificates: []tls.Certificate{elsewhere}}, url: user + "HOST" + query, ca: elsewhereCA, why: "is for another name: db.example.org", fix: "use a name of its certificate in mongo_url"}, //nolint:gosec // a server
		"expired":              {secure: &tls.Config{Certificates: []tls.Certificate{old}}, url: user + "HOST" + query, ca: oldCA, why: "expired on", fix: "renew the certificate"},                                                           //nolint:gosec // a server
		"nothing listens":      {url: user + free.Addr().String() + query, why: "nothing listens at " + free.Addr().String(), fix: "mongo_url"},
		"silence":              {url: user + silent.Addr().String() + query, why: "does not answer within 8s", fix: "mongo_url"},
		"no address":           {url: user + "db.invalid" + query, why: "db.invalid has no address", fix: "getent hosts db.invalid"},
		"no record":            {url: "mongodb+srv://rocketchat:wrong-password@db.invalid" + query, why: "DNS has no record _mongodb._tcp.db.invalid", fix: "name the hosts"},
		"another service":      {url: user + ssh.Addr().String() + query, why: "does not answer as MongoDB does", fix: "correct the port"},
		"TLS is not expected":  {url: user + "HOST" + query + "&tls=true", why: "has no TLS", fix: "take tls=true out of mongo_url"},
		"TLS is expected":      {secure: secure, url: user + "HOST" + query, why: "takes connections with TLS only", fix: "add tls=true to mongo_url"},
		"client certificates":  {secure: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}, url: user + "HOST" + query, ca: ca, why: "requires a client certificate", fix: "allowConnectionsWithoutCertificates"}, //nolint:gosec // a server
		"no replica set":       {alter: func(s *mongotest.Server) { s.Set = "" }, url: user + "HOST" + query, why: "is not a member of a replica set", fix: "rs.initiate("},
		"another set":          {alter: func(s *mongotest.Server) { s.Set = "main" }, url: user + "HOST" + query, why: "is called main, and mongo_url says replicaSet=rs0", fix: "replicaSet=main"},
		"no primary":           {alter: func(s *mongotest.Server) { s.Primary = mongotest.None }, url: user + "HOST" + query, why: "has no primary", fix: "rs.status()"},
		"a lost primary":       {alter: func(s *mongotest.Server) { s.Primary = "mongo1.invalid:27017" }, url: user + "HOST" + query, why: "its primary is mongo1.invalid:27017: mongo1.invalid has no address", fix: "let this host and its containers reach mongo1.invalid:27017"},
		"a primary elsewhere":  {alter: func(s *mongotest.Server) { s.Primary = good.Address() }, secure: secure, url: user + "HOST" + query, ca: ca},
		"a name of its own":    {alter: func(s *mongotest.Server) { s.Name = "localhost:27017" }, url: user + "HOST" + query, why: "calls a member localhost:27017", fix: "rs.reconfig(c)"},
		"straight to it":       {alter: func(s *mongotest.Server) { s.Name = "localhost:27017" }, url: user + "HOST" + query + "&directConnection=true"},
		"a secondary":          {alter: func(s *mongotest.Server) { s.Primary = good.Address() }, url: user + "HOST" + query + "&directConnection=true", why: "is not the primary", fix: "leave directConnection=true out"},
		"too old":              {alter: func(s *mongotest.Server) { s.Version = "6.0.19" }, url: user + "HOST" + query, why: "is MongoDB 6.0.19; Rocket.Chat 8 starts with 7.0 or later only", fix: "upgrade that MongoDB"},
		"only reads": {alter: func(s *mongotest.Server) {
			s.Actions = []string{"find", "listCollections", "listIndexes", "changeStream"}
		}, url: user + "HOST" + query, why: "the user rocketchat may not insert, update, remove, createCollection, createIndex, dropIndex in the database rocketchat", fix: `db.getSiblingDB("admin").grantRolesToUser("rocketchat", [{role: "readWrite", db: "rocketchat"}])`},
		"another database": {alter: func(s *mongotest.Server) { s.Database = "shop" }, url: user + "HOST" + query, why: "may not find, insert"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mongo(t, c.secure, c.alter)
			f := lookAt(t, answersFor(t, strings.Replace(c.url, "HOST", s.Address(), 1), c.ca))
			switch {
			case c.why == "" && (f.Severity != finding.OK || f.Summary != "MongoDB 8.0.12 of mongo_url can be used"):
				t.Errorf("%+v", f)
			case c.why != "" && (f.Severity != finding.Fail || f.Summary != "Rocket.Chat cannot use the MongoDB of mongo_url" || !strings.Contains(f.Why, c.why) || !strings.Contains(f.Fix, c.fix)):
				t.Errorf("%+v; want %q, %q", f, c.why, c.fix)
			}
			for _, command := range s.Asked() {
				if !slices.Contains([]string{"hello", "isMaster", "saslStart", "saslContinue", "connectionStatus", "listCollections", "buildInfo", "endSessions"}, command) {
					t.Errorf("it was asked to %s", command)
				}
			}
		})
	}
}

// A MongoDB version that Rocket.Chat still starts with, but is not tested with, is used with
// a warning.
func TestAnOldExternalMongoDBIsWarnedOf(t *testing.T) {
	t.Parallel()
	s := mongo(t, nil, func(s *mongotest.Server) { s.Version = "7.0.14" })
	f := lookAt(t, answersFor(t, "mongodb://rocketchat:"+url.QueryEscape(hardPassword)+"@"+s.Address()+"/rocketchat?authSource=admin", ""))
	if f.Severity != finding.Warn || !strings.Contains(f.Summary, "7.0.14") || !strings.Contains(f.Why, "MongoDB 8.0") {
		t.Errorf("%+v", f)
	}
}
