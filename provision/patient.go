package provision

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/doctor"
	"appliance/provision/plan"
	"appliance/provision/preflight"
)

func (p *Prepared) patient() doctor.Patient {
	host := preflight.RealHost(p.stack)
	return doctor.Patient{
		Answers: p.opts.Answers, Dir: p.opts.Dir, CertsDir: p.certsDir(), Services: p.stack.Services, Address: "127.0.0.1", Now: time.Now,
		Runtimes: p.runtimes, FreeBytes: host.FreeBytes, Samples: p.samples, Host: preflight.Lasting(host, p.opts.Answers, p.opts.Dir), Files: p.filesFor, Backups: p.backupTimes, Outside: p.outsideClient(),
		Attached: p.attached(), NotLoaded: p.stack.NotLoaded, Operator: p.operatorToken,
	}
}

func (p *Prepared) runtimes(ctx context.Context) (map[string]doctor.Runtime, error) {
	list, err := p.stack.Runtimes(ctx)
	out := map[string]doctor.Runtime{}
	for name, r := range list {
		out[name] = doctor.Runtime(r)
	}
	return out, err
}

// outsideClient trusts whom other servers trust, and the authority of closed networks.
func (p *Prepared) outsideClient() *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	private := p.opts.Answers.ACMECAFile
	if p.opts.Answers.TLS == answers.Internal {
		private = certs.InternalCA(p.certsDir())
	}
	if private != "" {
		data, _ := os.ReadFile(private) //nolint:gosec // the operator names the file; without it the certificate is not trusted
		roots.AppendCertsFromPEM(data)
	}
	return &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
}

// filesFor looks at the installation's files as the doctor wants to know them.
func (p *Prepared) filesFor() doctor.Files {
	var out doctor.Files
	m, err := p.stack.Manifest()
	if err == nil {
		for name, record := range m.Files {
			data, err := os.ReadFile(p.path(name))
			if err != nil {
				continue // services says what follows
			}
			if have := plan.Identity(name, data); have != record.Rendered && have != record.Kept && name != plan.AnswersFile {
				out.Edited = append(out.Edited, name)
			}
		}
	}
	slices.Sort(out.Edited)
	_ = filepath.WalkDir(p.path("secrets"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what cannot be read is not exposed
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			out.Exposed = append(out.Exposed, name)
		}
		return nil
	})
	if pending, _ := restorePending(p.opts.Dir); pending {
		out.Half, out.HalfFix = "a restore", (&PendingError{p.opts.Dir}).Hint()
	}
	if _, err := p.readUpgrade(); err == nil {
		out.Half, out.HalfFix = "an upgrade", (&HalfwayError{p.opts.Dir}).Hint()
	}
	return out
}

// lastBackup is a file whose time is that of the last backup.
const lastBackup = ".last_backup"

func (p *Prepared) backupTimes() (began, last time.Time) {
	// The oldest secret tells since when there is an installation.
	if info, err := os.Stat(p.path("secrets/admin_password")); err == nil {
		began = info.ModTime()
	}
	if info, err := os.Stat(p.path(lastBackup)); err == nil {
		last = info.ModTime()
	}
	return began, last
}
