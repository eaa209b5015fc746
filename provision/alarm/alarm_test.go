package alarm_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"appliance/provision/alarm"
)

var message = alarm.Message{
	Server: "chat.example.test", Severity: "fail", Title: "chat.example.test: the disk is full – at once",
	Text: "fail disk: the disk has 1 MB left\nwhat to do: free some space", Time: time.Unix(1e9, 0).UTC(),
}

// A heard is a request as a receiver sees it.
type heard struct {
	method, path, auth string
	header             http.Header
	body               string
}

// receiver is a server that answers every request with a status.
func receiver(t *testing.T, status int) (url string, got func() []heard) {
	t.Helper()
	var mu sync.Mutex
	var list []heard
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		list = append(list, heard{r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), r.Header, string(body)})
		if status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []heard { mu.Lock(); defer mu.Unlock(); return list }
}

// file writes a secret to a file with a mode and returns the file's name.
func file(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(name, []byte(content), 0o600), os.Chmod(name, mode)); err != nil {
		t.Fatal(err)
	}
	return name
}

// Each service gets the message in its own format.
func TestWebhooksSpeakTheLanguageOfEachService(t *testing.T) {
	for format, check := range map[string]func(heard) bool{
		alarm.JSON: func(h heard) bool {
			var m alarm.Message
			return json.Unmarshal([]byte(h.body), &m) == nil && m == message && h.method == "POST" && h.path == "/T0/B0/xyz"
		},
		alarm.Ntfy: func(h heard) bool {
			return h.body == message.Text && h.header.Get("Priority") == "high" && h.header.Get("Tags") == "warning" && strings.HasPrefix(h.header.Get("Title"), "=?utf-8?q?chat.example.test:")
		},
		alarm.Slack: func(h heard) bool {
			var in struct{ Text string }
			return json.Unmarshal([]byte(h.body), &in) == nil && in.Text == "*"+message.Title+"*\n"+message.Text
		},
		alarm.Matrix: func(h heard) bool {
			var in struct{ MsgType, Body string }
			return json.Unmarshal([]byte(h.body), &in) == nil && in.MsgType == "m.text" && strings.Contains(in.Body, message.Text) &&
				h.method == "PUT" && strings.HasPrefix(h.path, "/_matrix/client/v3/rooms/%21abc:example.org/send/m.room.message/")
		},
	} {
		t.Run(format, func(t *testing.T) {
			to, got := receiver(t, http.StatusOK)
			path := "/T0/B0/xyz"
			if format == alarm.Matrix {
				path = "/!abc:example.org"
			}
			way := alarm.Webhook{Format: format, File: file(t, to+path+"\ntk_1\n", 0o600)}
			if err := alarm.Try(t.Context(), way, message); err != nil {
				t.Fatal(err)
			}
			list := got()
			if len(list) != 1 || list[0].auth != "Bearer tk_1" || !check(list[0]) {
				t.Errorf("it got %+v", list)
			}
		})
	}
}

// A failure is reported without the URL, which can be a secret, and no redirect is followed
// with the token.
func TestAWebhookThatRefusesIsNamedWithoutItsSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		mode   os.FileMode
		says   string
		advice string
	}{
		"refused":         {http.StatusForbidden, 0o600, "answered 403 Forbidden", "get the address of the webhook again, and write it to "},
		"redirected":      {http.StatusFound, 0o600, "answered 302 Found", "get the address of the webhook again, and write it to "},
		"broken":          {http.StatusBadGateway, 0o600, "answered 502 Bad Gateway", "try again later"},
		"read by others":  {http.StatusOK, 0o644, "can be read by others: chmod 600", ""},
		"nobody is there": {0, 0o600, "connection refused", "let this host connect to the webhook, or correct the address in "},
	} {
		t.Run(name, func(t *testing.T) {
			to, got := receiver(t, max(c.status, http.StatusOK))
			if c.status == 0 {
				to = "http://" + free(t)
			}
			err := alarm.Try(t.Context(), alarm.Webhook{Format: alarm.JSON, File: file(t, to+"/s3cret\nt0ken\n", c.mode)}, message)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("said %v", err)
			}
			if f, ok := errors.AsType[*alarm.Failure](err); !ok || !strings.Contains(f.Advice, c.advice) || (f.Advice == "") != (c.advice == "") {
				t.Errorf("advises %+v", f)
			}
			if n := len(got()); n > 1 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}

// free returns an address on which nothing listens.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	return ln.Addr().String()
}

// silent returns an address that accepts connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
}

// A postOffice is an SMTP server with one account, which can refuse mail.
type postOffice struct {
	mu     sync.Mutex
	refuse error
	mails  []string
}

func (p *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &counter{office: p}, nil }

type counter struct {
	office *postOffice
	known  bool
}

func (c *counter) AuthMechanisms() []string { return []string{sasl.Plain} }
func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if c.known = user == "alerts" && password == "p4ssword"; !c.known {
			return &smtp.SMTPError{Code: 535, Message: "who are you?"}
		}
		return nil
	}), nil
}
func (c *counter) Mail(string, *smtp.MailOptions) error {
	if !c.known {
		return &smtp.SMTPError{Code: 530, Message: "sign in first"}
	}
	return c.office.refuse
}
func (c *counter) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (c *counter) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	c.office.mails = append(c.office.mails, string(data))
	return err
}
func (c *counter) Reset()        {}
func (c *counter) Logout() error { return nil }

// open starts the server, with TLS if it has a certificate.
func (p *postOffice) open(t *testing.T, cert *tls.Config) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(p)
	srv.Domain, srv.TLSConfig, srv.AllowInsecureAuth = "localhost", cert, true
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	return ln.Addr().String()
}

// certificate returns a certificate for 127.0.0.1 and a pool that trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return &tls.Config{Certificates: srv.TLS.Certificates, MinVersion: tls.VersionTLS12}, pool
}

func TestMailIsDeliveredEncryptedOrNotAtAll(t *testing.T) {
	cert, roots := certificate(t)
	var office postOffice
	way := alarm.Mail{
		URL: "smtp://alerts@" + office.open(t, cert), PasswordFile: file(t, "p4ssword\n", 0o600),
		From: "appliance@example.test", To: "ops@example.test", Roots: roots,
	}
	if err := alarm.Try(t.Context(), way, message); err != nil {
		t.Fatal(err)
	}
	if len(office.mails) != 1 || !strings.Contains(office.mails[0], "the disk has 1 MB left") || !strings.Contains(office.mails[0], "Auto-Submitted: auto-generated") {
		t.Errorf("delivered %q", office.mails)
	}
	refuse := func(says, advice string, change func(*alarm.Mail)) {
		t.Helper()
		other := way
		change(&other)
		err := alarm.Try(t.Context(), other, message)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "p4ssword") {
			t.Errorf("said %v, want %q", err, says)
		}
		if f, ok := errors.AsType[*alarm.Failure](err); !ok || !strings.Contains(f.Advice, advice) || (f.Advice == "") != (advice == "") {
			t.Errorf("%s: advises %+v, want %q", says, f, advice)
		}
	}
	refuse("certificate", "as its certificate does", func(m *alarm.Mail) { m.Roots = x509.NewCertPool() })
	refuse("535", "correct the user in alarm_mail_url and the password in ", func(m *alarm.Mail) { m.PasswordFile = file(t, "wrong-p4ss\n", 0o600) })
	refuse("STARTTLS", "smtps://HOST:465", func(m *alarm.Mail) { m.URL = "smtp://alerts@" + new(postOffice).open(t, nil) })
	refuse("connection refused", "let this host connect to the mail server", func(m *alarm.Mail) { m.URL = "smtp://alerts@" + free(t) })
	refuse("552", "make room in the mailbox of ops@example.test", func(m *alarm.Mail) {
		m.URL = "smtp://alerts@" + (&postOffice{refuse: &smtp.SMTPError{Code: 552, Message: "mailbox full"}}).open(t, cert)
	})
	refuse("550", "alarm_mail_from and alarm_mail_to", func(m *alarm.Mail) {
		m.URL = "smtp://alerts@" + (&postOffice{refuse: &smtp.SMTPError{Code: 550, Message: "no such user"}}).open(t, cert)
	})
	refuse("must not have a password", "", func(m *alarm.Mail) { m.URL = "smtp://alerts:x@127.0.0.1" })
	if len(office.mails) != 1 {
		t.Errorf("%d mails were delivered", len(office.mails))
	}
}

// A way that hangs takes a limited time. The message then goes by the next way, and says so.
func TestAnAlarmGoesAnotherWayWhenOneHangs(t *testing.T) {
	alarm.Hurry(t, 300*time.Millisecond)
	cert, roots := certificate(t)
	var office postOffice
	hook := alarm.Webhook{Format: alarm.JSON, File: file(t, "http://"+silent(t)+"/s3cret", 0o600)}
	mute := alarm.Mail{URL: "smtp+plain://" + silent(t), From: "a@example.test", To: "b@example.test"}
	post := alarm.Mail{
		URL: "smtp://alerts@" + office.open(t, cert), PasswordFile: file(t, "p4ssword\n", 0o600),
		From: "appliance@example.test", To: "ops@example.test", Roots: roots,
	}
	begin := time.Now()
	by, err := alarm.Send(t.Context(), []alarm.Way{hook, mute, post}, message)
	if err != nil || by != "mail" {
		t.Fatalf("sent by %q: %v", by, err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(office.mails) != 1 || !strings.Contains(office.mails[0], "Not sent by webhook: no answer within 300ms") || strings.Contains(office.mails[0], "s3cret") {
		t.Errorf("delivered %q", office.mails)
	}
	_, err = alarm.Send(t.Context(), []alarm.Way{hook, mute}, message)
	if unsent, ok := errors.AsType[*alarm.UnsentError](err); !ok || len(unsent.Failures) != 2 || !strings.Contains(unsent.Hint(), "appliance alarm test") {
		t.Errorf("said %v", err)
	}
}
