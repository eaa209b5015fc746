// Package checkup examines an installation with the doctor's checks: it gives them this host to
// examine, records how full the disk was, waits until all is well, and notifies the
// administrator of the findings.
package checkup

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/archive"
	"appliance/provision/attach"
	"appliance/provision/certs"
	"appliance/provision/databases"
	"appliance/provision/doctor"
	"appliance/provision/finding"
	"appliance/provision/operator"
	"appliance/provision/plan"
	"appliance/provision/preflight"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/service"
	"appliance/provision/site"
)

// Run runs all checks and returns the findings. It records how full the disk is, to predict
// when it will be full, and leaves the findings for the bridge's console; apart from that it
// changes nothing.
func Run(ctx context.Context, s *site.Site) []finding.Finding {
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = remember(ctx, s, time.Now()) // a user other than root may look too
	}()
	defer func() { <-measured }()
	findings := Look(ctx, s)
	_ = note(ctx, s, findings, time.Now()) // the same
	return findings
}

// Look is Run without recording anything.
func Look(ctx context.Context, s *site.Site) []finding.Finding { return doctor.Run(ctx, target(s)) }

// Await examines a changed installation repeatedly until nothing fails, for at most patience,
// and returns the last findings.
func Await(ctx context.Context, s *site.Site, patience time.Duration) []finding.Finding {
	t := target(s)
	look := t.Files
	t.Files = func() doctor.Files {
		f := look()
		f.Half = "" // it is in progress
		return f
	}
	until := time.Now().Add(patience)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		findings := doctor.Run(ctx, t)
		if finding.Worst(findings) < finding.Fail || !time.Now().Before(until) {
			_ = note(ctx, s, findings, time.Now()) // the console can do without
			return findings
		}
		select {
		case <-ctx.Done():
			return findings
		case <-tick.C:
		}
	}
}

// LastBackup returns when the installation was last backed up, or zero.
func LastBackup(s *site.Site) time.Time {
	_, last := backupTimes(s)
	return last
}

// target returns this host as the doctor's checks see it.
func target(s *site.Site) doctor.Target {
	host := preflight.RealHost(s.Stack)
	return doctor.Target{
		Answers: s.Answers, Unusable: s.Unusable, Dir: s.Dir, CertsDir: s.CertsDir(), Services: s.Stack.Services, Address: cmp.Or(s.Answers.ListenAddress, "127.0.0.1"), Now: time.Now,
		Runtimes: func(ctx context.Context) (map[string]doctor.Runtime, error) { return runtimes(ctx, s) }, FreeBytes: host.FreeBytes, Samples: func() []doctor.Sample { return samples(s) }, Host: preflight.Lasting(host, s.Answers, s.Dir), Files: func() doctor.Files { return files(s) }, Account: func() (string, secret.String, error) { return account(s) }, Backups: func() (began, last time.Time) { return backupTimes(s) }, Outside: outsideClient(s),
		Resolve: host.Public, Addresses: host.Addresses,
		LookupSRV: func(ctx context.Context, name string) ([]*net.SRV, error) {
			_, found, err := net.DefaultResolver.LookupSRV(ctx, "", "", name)
			return found, err
		},
		Databases: func(ctx context.Context) doctor.Databases { return formats(ctx, s) },
		Units:     func(ctx context.Context) doctor.Units { return units(ctx, s) }, Chores: func() map[string]doctor.ChoreFailure { return failures(s) },
		Attached: attach.Installed(s.Dir, s.Answers), Refused: func(ctx context.Context) []doctor.Refusal { return refused(ctx, s) }, NotLoaded: s.Stack.Loaded().Stale, Override: s.Stack.Compose().CheckOverride, Operator: func() (secret.String, error) { return operator.Token(s) },
		Federation: func() string { return operator.Federation(s) },
	}
}

// account returns the bridge's account in Rocket.Chat.
func account(s *site.Site) (id string, token secret.String, err error) {
	data, err := os.ReadFile(secrets.Path(s.Dir, secrets.RocketChatToken))
	return render.BridgeUserID, secret.New(strings.TrimSpace(string(data))), err
}

func runtimes(ctx context.Context, s *site.Site) (map[string]doctor.Runtime, error) {
	list, err := s.Stack.Runtimes(ctx)
	out := map[string]doctor.Runtime{}
	for name, r := range list {
		out[name] = doctor.Runtime(r)
	}
	return out, err
}

// outsideClient trusts the authorities that other servers trust, and that of a closed network.
func outsideClient(s *site.Site) *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	private := s.Answers.ACMECAFile
	if s.Answers.TLS == answers.Internal {
		private = certs.InternalCA(s.CertsDir())
	}
	if private != "" {
		data, _ := os.ReadFile(private) //nolint:gosec // the operator names the file; without it the certificate is not trusted
		roots.AppendCertsFromPEM(data)
	}
	return &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
}

// files examines the installation's files for the doctor.
func files(s *site.Site) doctor.Files {
	var out doctor.Files
	m, err := s.Stack.Tree().Manifest()
	if out.Unknown = err; err == nil {
		for name, record := range m.Files {
			data, err := os.ReadFile(s.Path(name))
			if errors.Is(err, fs.ErrNotExist) {
				out.Missing = append(out.Missing, name)
			}
			if err != nil {
				continue
			}
			if have := plan.Identity(name, data); have != record.Rendered && have != record.Kept && name != plan.AnswersFile {
				out.Edited = append(out.Edited, name)
			}
		}
	}
	slices.Sort(out.Edited)
	slices.Sort(out.Missing)
	if len(m.Files) > 0 {
		lost, kept := secrets.Missing(s.Dir)
		out.Lost, out.Kept = below(lost), below(kept)
		changed, _ := secrets.Edited(s.Dir) // what cannot be read is reported elsewhere
		out.Changed = below(changed)
	}
	_ = filepath.WalkDir(s.Path("secrets"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what cannot be read is not exposed
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			out.Exposed = append(out.Exposed, name)
		}
		return nil
	})
	if info, err := os.Stat(s.Path(site.BackupKey)); err == nil && info.Mode().Perm()&0o077 != 0 {
		out.Exposed = append(out.Exposed, s.Path(site.BackupKey))
	}
	out.Half, out.HalfFix = unfinished(s)
	return out
}

// unfinished returns what was interrupted, and how to complete it.
func unfinished(s *site.Site) (what, fix string) {
	if _, err := archive.ReadReturnPoint(s); err == nil {
		return "an upgrade", (&archive.InterruptedError{Dir: s.Dir}).Hint()
	}
	if pending, _ := archive.Pending(s.Dir); pending {
		return "a restore", (&archive.PendingError{Dir: s.Dir}).Hint()
	}
	if turn, err := secrets.UnderWay(s.Dir); err != nil || len(turn) > 0 {
		return "a rotation of secrets", "complete it with: appliance up"
	}
	return "", ""
}

// below returns the paths of secrets relative to the installation's directory.
func below(names []secrets.Name) (out []string) {
	for _, n := range names {
		out = append(out, "secrets/"+string(n))
	}
	return out
}

// formats returns the formats of the data, and what has to read it.
func formats(ctx context.Context, s *site.Site) doctor.Databases {
	f := databases.Look(ctx, s)
	env, _ := os.ReadFile(s.Path(".env")) // its absence is reported elsewhere
	image := plan.Image(env, databases.Postgres)
	major, _ := plan.Major(image)
	return doctor.Databases{
		PostgresFiles: f.Postgres, PostgresMajor: major, PostgresImage: image, VersionsFile: site.Quoted(s.Path(site.VersionsFile)),
		MongoServer: f.Server, MongoFormat: f.Mongo, MongoBehind: f.Behind(),
	}
}

// units returns the state of the installation's systemd units.
func units(ctx context.Context, s *site.Site) doctor.Units {
	out := doctor.Units{Lacking: service.Lacking(s)}
	list, err := service.Status(ctx, s, "")
	if err != nil { // without systemd
		return out
	}
	for _, u := range list {
		switch timer := strings.HasSuffix(u.Unit, ".timer"); {
		case timer && u.Enabled != "enabled" && u.Enabled != "", timer && u.Active != "active" && u.Active != "":
			out.Idle = append(out.Idle, u.Unit)
		case timer && strings.HasSuffix(u.Unit, "-backup.timer"):
			out.Nightly = true
		case u.Result != "" && u.Result != "success":
			out.Failed = append(out.Failed, u.Unit)
		}
	}
	return out
}

func backupTimes(s *site.Site) (began, last time.Time) {
	// The oldest secret shows when the installation began.
	if info, err := os.Stat(s.Path("secrets/admin_password")); err == nil {
		began = info.ModTime()
	}
	if info, err := os.Stat(s.Path(site.LastBackup)); err == nil {
		last = info.ModTime()
	}
	return began, last
}
