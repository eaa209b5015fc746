package external

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/url"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/finding"
	"appliance/provision/offsite"
)

// uploadsCheck tries the storage of uploads.
func uploadsCheck(a answers.Answers) finding.Check {
	return finding.Check{Name: "uploads", Run: func(ctx context.Context) finding.Finding {
		storage, _ := a.Storage()
		return judge(Uploads(ctx, a), nil, "the bucket %s of uploads can store, return and remove files", storage.Bucket)
	}}
}

// Uploads tries the storage of uploads with a small file, which it removes.
func Uploads(ctx context.Context, a answers.Answers) error {
	storage, _ := a.Storage()
	s := service{summary: "Rocket.Chat cannot keep files in the storage of uploads", key: "uploads", caKey: "uploads_ca_file", caFile: a.UploadsCAFile}
	u, err := url.Parse(storage.Endpoint)
	if err != nil {
		return err
	}
	port := "443"
	if u.Scheme == "http" {
		port = "80"
	}
	s.host = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	c := offsite.Config{URL: a.Uploads, KeyFile: a.UploadsKeyFile, Region: storage.Region, Answer: s.key, Tries: 1}
	if a.UploadsCAFile != "" {
		pem, err := certs.Authorities(a.UploadsCAFile)
		if err != nil {
			return s.error("name a file in PEM: appliance config set uploads_ca_file=/etc/ca.pem", "uploads_ca_file cannot be used: %v", err)
		}
		if c.Roots, err = x509.SystemCertPool(); err != nil {
			c.Roots = x509.NewCertPool()
		}
		c.Roots.AppendCertsFromPEM(pem) // in addition to the others, as in Rocket.Chat
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = offsite.Probe(ctx, c); err == nil {
		return nil
	}
	if found := s.connection(err); found != nil {
		return found
	}
	if e, ok := errors.AsType[*offsite.Error](err); ok && e.Advice != "" {
		return s.error(e.Advice, "%v", err)
	}
	return s.error("see the log of that storage", "%v", err)
}
