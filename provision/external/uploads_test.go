package external_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"appliance/provision/answers"
	"appliance/provision/external"
	"appliance/provision/finding"
)

// A refusal is the error that the storage returns for a method.
type refusal struct {
	method string
	status int
	code   string
	extra  string
}

// storage starts S3-compatible storage with a bucket "files" and the access key AKIA1. It returns
// its address, a counter of stored files, and a function that lists the bucket.
func storage(t *testing.T, secure *tls.Config, refuse refusal) (place string, stored *atomic.Int32, list func() []string) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("files"); err != nil {
		t.Fatal(err)
	}
	s3 := gofakes3.New(backend).Server()
	stored = &atomic.Int32{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deny := func(status int, code, extra string) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s, it says.</Message>%s</Error>`, code, code, extra)
		}
		switch {
		case !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIA1/"):
			deny(http.StatusForbidden, "InvalidAccessKeyId", "")
		case r.Method == refuse.method:
			deny(refuse.status, refuse.code, refuse.extra)
		default:
			if r.Method == http.MethodPut {
				stored.Add(1)
			}
			s3.ServeHTTP(w, r)
		}
	}))
	_ = srv.Listener.Close()
	l, err := net.Listen("tcp", net.JoinHostPort(address(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	srv.Listener = l
	scheme := "s3+http://"
	if secure != nil {
		srv.TLS, scheme = secure, "s3://"
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return scheme + l.Addr().String(), stored, func() []string {
		found, err := backend.ListBucket("files", nil, gofakes3.ListBucketPage{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range found.Contents {
			names = append(names, c.Key)
		}
		return names
	}
}

func uploadsAnswers(t *testing.T, set ...string) answers.Answers {
	t.Helper()
	d := answers.NewDraft()
	for _, answer := range append([]string{"domain=chat.example.org", "email=ops@example.org"}, set...) {
		d.Assign(answer)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Whatever keeps Rocket.Chat from storing files in the operator's storage is reported before
// anything is changed, and the attempt leaves nothing behind.
func TestStorageForFilesIsTriedFirst(t *testing.T) {
	t.Parallel()
	at, soon := address(t), time.Now().Add(time.Hour)
	cert, ca := issue(t, soon, at)
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	_, other := issue(t, soon, at)
	elsewhere, elsewhereCA := issue(t, soon, "s3.example.org")
	old, oldCA := issue(t, time.Now().Add(-time.Minute), at)
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good, wrong := write("good", "AKIA1\ns3cret-key\n", 0o600), write("wrong", "AKIA2\ns3cret-key\n", 0o600)
	for name, c := range map[string]struct {
		secure           *tls.Config
		refuse           refusal
		url, keys, ca    string // HOST is the address of the storage
		why, fix         string // "" means no failure
		stored, attempts int    // files that are left there, and that were sent
	}{
		"good":              {secure: secure, url: "HOST/files", ca: ca, attempts: 1},
		"without TLS":       {url: "HOST/files", attempts: 1},
		"another authority": {secure: secure, url: "HOST/files", ca: other, why: "which " + other + " does not have", fix: "uploads_ca_file"},
		"no authority":      {secure: secure, url: "HOST/files", why: "which this host does not have", fix: "appliance config set uploads_ca_file="},
		"another name":      {secure: &tls.Config{Certificates: []tls.Certificate{elsewhere}}, url: "HOST/files", ca: elsewhereCA, why: "is for another name: s3.example.org", fix: "use a name of its certificate in uploads"}, //nolint:gosec // a server
		"expired":           {secure: &tls.Config{Certificates: []tls.Certificate{old}}, url: "HOST/files", ca: oldCA, why: "expired on", fix: "renew the certificate"},                                                         //nolint:gosec // a server
		"no address":        {url: "s3://s3.invalid/files", why: "s3.invalid has no address", fix: "getent hosts s3.invalid"},
		"nothing listens":   {url: "s3://" + at + ":9/files", why: "nothing listens at " + at + ":9", fix: "uploads"},
		"no bucket":         {url: "HOST/nothere", why: "NoSuchBucket", fix: "create the bucket nothere there", attempts: 1},
		"unknown key":       {url: "HOST/files", keys: wrong, why: "InvalidAccessKeyId", fix: "correct the access key and the secret key in " + wrong},
		"open key file":     {url: "HOST/files", keys: write("open", "AKIA1\ns3cret-key\n", 0o644), why: "others can read it", fix: "chmod 600"},
		"one line":          {url: "HOST/files", keys: write("one", "AKIA1\n", 0o600), why: "needs two lines", fix: "secret key into the second"},
		"another region":    {url: "HOST/files", refuse: refusal{http.MethodPut, 400, "AuthorizationHeaderMalformed", "<Region>eu-west-9</Region>"}, why: "AuthorizationHeaderMalformed", fix: "appliance config set uploads_region=eu-west-9"},
		"no writing":        {url: "HOST/files", refuse: refusal{http.MethodPut, 403, "AccessDenied", ""}, why: "AccessDenied", fix: "let the access key list, read, write and delete in the bucket files"},
		"no reading":        {url: "HOST/files", refuse: refusal{http.MethodGet, 403, "AccessDenied", ""}, why: "AccessDenied", fix: "let the access key", attempts: 1},
		"no removing":       {url: "HOST/files", refuse: refusal{http.MethodDelete, 403, "AccessDenied", ""}, why: "stays there", fix: "let the access key", attempts: 1, stored: 1},
		"full":              {url: "HOST/files", refuse: refusal{http.MethodPut, 507, "XMinioStorageFull", ""}, why: "XMinioStorageFull", fix: "make room there, or enlarge the bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			host, sent, list := storage(t, c.secure, c.refuse)
			keys := good
			if c.keys != "" {
				keys = c.keys
			}
			checks := external.Checks(uploadsAnswers(t, "uploads="+strings.Replace(c.url, "HOST", host, 1), "uploads_key_file="+keys, "uploads_ca_file="+c.ca))
			if len(checks) != 1 || checks[0].Name != "uploads" {
				t.Fatalf("checks %v", checks)
			}
			f := checks[0].Run(t.Context())
			switch {
			case c.why == "" && f.Severity != finding.OK:
				t.Errorf("%+v", f)
			case c.why != "" && (f.Severity != finding.Fail || f.Summary != "Rocket.Chat cannot keep files in the storage of uploads" || !strings.Contains(f.Why, c.why) || !strings.Contains(f.Fix, c.fix)):
				t.Errorf("%+v; want %q, %q", f, c.why, c.fix)
			}
			if strings.Contains(f.Summary+f.Why+f.Fix, "s3cret-key") {
				t.Errorf("the key is shown: %+v", f)
			}
			if names := list(); len(names) != c.stored || c.stored > 0 && !strings.Contains(f.Why, names[0]) {
				t.Errorf("%q are left there; %s", names, f.Why)
			}
			if int(sent.Load()) != c.attempts {
				t.Errorf("%d files were sent, want %d", sent.Load(), c.attempts)
			}
		})
	}
	for _, uploads := range []string{"", "bundled"} {
		if checks := external.Checks(uploadsAnswers(t, "uploads="+uploads)); len(checks) != 0 {
			t.Errorf("uploads=%s is tried: %v", uploads, checks)
		}
	}
}
