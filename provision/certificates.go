package provision

import (
	"context"
	"fmt"
	"time"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/site"
)

// An issuer gets certificates from the source in the answers: an ACME authority, this host's
// own authority, or files.
type issuer struct {
	*site.Site
	bundle []byte // key and certificate, with tls: files
}

func (p *Prepared) issuer() issuer { return issuer{p.site, p.seen.bundle} }

func (i issuer) acme() certs.Config {
	return render.Certificates(i.Answers, i.CertsDir(), i.Answers.ACMECAFile)
}

// cause returns why a host needs a certificate, or "" if it needs none.
func (i issuer) cause(host string) string {
	switch i.Answers.TLS {
	case answers.Internal:
		return certs.NeedInternal(i.CertsDir(), host, time.Now())
	case answers.Files:
		return certs.NeedFiles(i.CertsDir(), host, i.bundle)
	}
	return certs.NeedACME(i.acme(), host, time.Now())
}

// get obtains a certificate. In a running installation the certs service answers the
// authority's challenges; otherwise this process does.
func (i issuer) get(ctx context.Context, op plan.GetCertificate) error {
	switch i.Answers.TLS {
	case answers.Internal:
		return certs.IssueInternal(i.CertsDir(), op.Host)
	case answers.Files:
		return certs.InstallFiles(i.CertsDir(), op.Host, i.bundle)
	}
	if op.Started {
		return certs.Await(ctx, i.acme(), op.Host)
	}
	services, err := i.Stack.Services(ctx)
	if err != nil {
		return err
	}
	if !services["certs"].OK() || !services["nginx"].OK() {
		stop, err := certs.Answer(ctx, i.CertsDir(), fmt.Sprintf(":%d", i.Answers.HTTPPort))
		if err != nil {
			return err
		}
		defer stop()
	}
	return certs.Obtain(ctx, i.acme(), op.Host)
}

// RenewCertificates renews the certificates that are due: from this host's own authority, from
// the operator's files if they have changed, and from an ACME authority if the certs service
// has not done so. It returns the hosts whose certificates were renewed.
func RenewCertificates(ctx context.Context, s *site.Site, r Reporter) (renewed []string, err error) {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	a, i := s.Answers, issuer{Site: s}
	if a.TLS == answers.Files {
		if i.bundle, err = certs.ReadFiles(a.TLSCertFile, a.TLSKeyFile, a.Hosts(), time.Now()); err != nil {
			return nil, answers.Unusable("tls_cert_file", err)
		}
	}
	for _, host := range a.Hosts() {
		cause := i.cause(host)
		if cause == "" {
			continue
		}
		step := plan.Step{ID: "certificate", Title: "get a certificate for " + host, Cause: cause}
		err := plan.Track(r, step, func() error { return i.get(ctx, plan.GetCertificate{Host: host}) })
		if err != nil {
			return renewed, err
		}
		renewed = append(renewed, host)
	}
	return renewed, nil
}

// Certificates returns the status of every host's certificate.
func Certificates(s *site.Site) ([]certs.Status, error) {
	var out []certs.Status
	for _, host := range s.Answers.Hosts() {
		if host == "" { // the answers do not say
			continue
		}
		c, err := certs.Inspect(s.CertsDir(), host)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
