// Package external checks the operator's services that an installation uses in place of its
// own: whether they answer, with which certificate, let the user in, and can be used. The
// check of uploads writes a small file and removes it; the others change nothing. Problems
// are reported with the key of the answer and with what to do.
package external

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// An Error is why a service cannot be used, and what to do.
type Error struct{ Summary, Why, Fix string }

func (e *Error) Error() string { return e.Summary + ": " + e.Why }

// Hint says what to do.
func (e *Error) Hint() string { return e.Fix }

// Checks returns the checks of the external services in the answers, one for each.
func Checks(a answers.Answers) []finding.Check {
	var checks []finding.Check
	if a.BundledHomeserver() && !a.BundledPostgres() {
		checks = append(checks, finding.Check{Name: "homeserver-database", Run: func(ctx context.Context) finding.Finding {
			version, err := HomeserverDatabase(ctx, a)
			return judge(err, []string{"homeserver", "bridge"}, "PostgreSQL %s of homeserver_database can be used", version)
		}})
	}
	if a.BundledRocketChat() && !a.BundledMongo() {
		checks = append(checks, mongoCheck(a))
	}
	if _, external := a.Storage(); external && a.BundledRocketChat() {
		checks = append(checks, uploadsCheck(a))
	}
	return checks
}

// judge returns the finding about a service; without the service, those in disables are of no use.
func judge(err error, disables []string, good string, args ...any) finding.Finding {
	if err == nil {
		return finding.Good(good, args...)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return finding.Failure(e.Summary, e.Why, e.Fix).Disabling(disables...)
	}
	return finding.Failure("an external service cannot be checked", strings.Join(strings.Fields(err.Error()), " "), "try again")
}

// patience is how long one service may take to answer.
const patience = 8 * time.Second

// A service is one of the operator's services, as messages about it describe it.
type service struct {
	summary string // that it cannot be used
	key     string // of the answer with its address
	caKey   string // of the answer with the authorities of its certificate
	caFile  string // what that answer says
	host    string // with the port
}

func (s service) error(fix, why string, args ...any) error {
	return &Error{s.summary, fmt.Sprintf(why, args...), fix}
}

// connection explains a failed connection or an untrusted certificate; it returns nil if err is
// about something else.
func (s service) connection(err error) error {
	name, _, _ := net.SplitHostPort(s.host)
	correct := "correct " + s.key + ", or let this host reach it: appliance config edit"
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return s.error("correct the name in "+s.key+", or make it known to the DNS of this host: getent hosts "+name, "%s has no address: %s", name, e.Err)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired && e.Cert != nil && time.Now().After(e.Cert.NotAfter) {
			return s.error("renew the certificate of "+name, "the certificate of %s expired on %s", s.host, e.Cert.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
		}
		return s.error("give "+name+" a valid certificate, and check the clock of this host: timedatectl", "the certificate of %s is not valid: %v", s.host, e)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return s.error("use a name of its certificate in "+s.key, "the certificate of %s is for another name: %s", s.host, named(e.Certificate))
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return s.error("name the file with the authorities of its certificate: appliance config set "+s.caKey+"=/etc/ca.pem", "the certificate of %s was issued by %s, which %s does not have", s.host, issuer(e.Cert), s.trusted())
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return s.error("give "+name+" a certificate of the authorities in "+s.caKey, "the certificate of %s cannot be verified: %v", s.host, e.Err)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.error(correct, "nothing listens at %s", s.host)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return s.error(correct, "%s does not answer within %s", s.host, patience)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return s.error(correct, "%s cannot be reached: %v", s.host, e.Err)
	}
	return nil
}

func (s service) trusted() string {
	if s.caFile == "" {
		return "this host"
	}
	return s.caFile
}

func named(c *x509.Certificate) string {
	var names []string
	names = append(names, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return c.Subject.String()
	}
	return strings.Join(names, ", ")
}

func issuer(c *x509.Certificate) string {
	if c == nil {
		return "an unknown authority"
	}
	return c.Issuer.String()
}
