// Package provision installs what the answers ask for, and applies changed answers. It
// wires the packages below it:
//
//	answers, secrets -> render -> Files ┐
//	stack.Observe, certs, bootstrap -> State ┴> plan.Make -> Plan -> Apply
//
// Prepare is read-only. Apply holds the host's lock, observes again, and carries out
// the plan step by step; after a failure the remaining steps are "not reached", and the
// next run starts from the state that it observes.
package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/config"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/archive"
	"appliance/provision/attach"
	"appliance/provision/bootstrap"
	"appliance/provision/certs"
	"appliance/provision/databases"
	"appliance/provision/finding"
	"appliance/provision/homeserver"
	"appliance/provision/offsite"
	"appliance/provision/plan"
	"appliance/provision/preflight"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/service"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// Options say what to provision.
type Options struct {
	Dir     string // the installation directory, absolute
	Answers answers.Answers
	Edits   plan.Choice // what to do with files that were edited by hand
	Program string      // path of this program, which becomes an image
	// DatabaseCopied says that the homeserver's data has been copied to the database in the
	// answers, which is not the one used before.
	DatabaseCopied bool
	// Foreign says that the answers come from a file other than the installation's own, so that
	// manual edits to its own file would be lost.
	Foreign bool

	// Checks are further preconditions for any change, about things that this package does not
	// know how to open.
	Checks []finding.Check

	Rotate secrets.Rotations // to plan; if empty, the one under way
	// Replaces names the secrets that will be replaced, whatever their current values.
	Replaces []secrets.Name

	Upgrade  bool    // changes that only an upgrade may make are allowed
	Versions *[]byte // content of site.VersionsFile to plan with, if it will change
}

// A Prepared is the plan for a host, with the observations it was made from.
type Prepared struct {
	Findings []finding.Finding
	Plan     plan.Plan

	opts Options
	site *site.Site
	host preflight.Host
	seen observed
	key  *archive.KeyInfo // the key to backups, if Apply has made it
}

// An observed is the result of observing the host once.
type observed struct {
	in     render.Input
	wanted plan.Wanted
	state  plan.State
	set    secrets.Set // with the new values of a rotation
	disk   secrets.Set // as it is on disk, or will be
	turn   secrets.Rotations
	prog   stack.Program
	ca     []byte
	bundle []byte // key and certificate, with tls: files
	// formats are the formats of the data on disk.
	formats databases.Formats
}

// Prepare observes the host and makes a plan. It changes nothing. Close a non-nil result even
// if it comes with an error.
func Prepare(ctx context.Context, o Options) (*Prepared, error) {
	s, err := site.New(o.Dir, o.Answers)
	if err != nil {
		return nil, err
	}
	p := &Prepared{opts: o, site: s, host: preflight.RealHost(s.Stack)}
	return p, p.look(ctx)
}

// look observes the host and makes a new plan.
func (p *Prepared) look(ctx context.Context) error {
	p.Findings, p.Plan, p.seen = nil, plan.Plan{}, observed{}
	if err := stack.Locked(p.opts.Dir); err != nil {
		return err
	}
	if err := errors.Join(site.Vacant(p.opts.Dir), archive.CheckPending(p.opts.Dir), p.checkPermanent(), checkDatabase(ctx, p.site, p.opts)); err != nil {
		return err
	}
	if edited, err := editedSecrets(p); err != nil || len(edited) > 0 {
		return cmp.Or(err, error(&NotReadyError{edited}))
	}
	var g errgroup.Group
	g.Go(func() error {
		p.Findings = preflight.Run(ctx, p.host, p.opts.Answers, p.opts.Dir, p.opts.Checks...)
		return nil
	})
	var observeErr error
	g.Go(func() error { observeErr = p.observe(ctx); return nil })
	_ = g.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := stack.Locked(p.opts.Dir); err != nil { // it started meanwhile and explains the findings
		return err
	}
	if finding.Worst(p.Findings) == finding.Fail {
		return &NotReadyError{finding.Failures(p.Findings)}
	}
	if observeErr != nil {
		return observeErr
	}
	if err := p.site.Stack.Compose().CheckOverride(ctx); err != nil {
		return err
	}
	if edited := p.edited(); len(edited) > 0 {
		p.Findings = append(p.Findings, edited...)
		return &NotReadyError{edited}
	}
	if err := p.gate(); err != nil {
		return err
	}
	p.Plan = plan.Make(p.seen.wanted, p.seen.state, p.opts.Edits)
	return nil
}

// LookAtHost runs the host checks that do not depend on the answers, which may not have been
// given yet.
func LookAtHost(ctx context.Context, dir string, a answers.Answers) ([]finding.Finding, error) {
	s, err := site.New(dir, a)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	findings := preflight.Run(ctx, preflight.RealHost(s.Stack), a, dir)
	return slices.DeleteFunc(findings, func(f finding.Finding) bool {
		return strings.HasPrefix(f.Check, "dns-") || f.Check == "caa"
	}), nil
}

// Fit returns a *NotReadyError when this host cannot take an installation with these
// answers in dir. It changes nothing.
func Fit(ctx context.Context, dir string, a answers.Answers) error {
	s, err := site.New(dir, a)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if bad := finding.Failures(preflight.Run(ctx, preflight.RealHost(s.Stack), a, dir)); len(bad) > 0 {
		return &NotReadyError{bad}
	}
	return ctx.Err()
}

// Close releases what Prepare opened.
func (p *Prepared) Close() error { return p.site.Close() }

// checkPermanent refuses answers that can no longer change.
func (p *Prepared) checkPermanent() error {
	m, err := p.site.Stack.Tree().Manifest()
	if err != nil {
		return err
	}
	now := p.opts.Answers.Permanent()
	for _, f := range answers.Fields {
		was, ok := m.Permanent[f.Key]
		if !ok { // the answer is newer than the installation, which has the default
			was = f.Default
		}
		if len(m.Permanent) > 0 && f.Permanent && was != now[f.Key] {
			return &PermanentError{Key: f.Key, Was: was, Now: now[f.Key], Dir: p.opts.Dir}
		}
	}
	return nil
}

// observe determines the wanted and the actual state.
func (p *Prepared) observe(ctx context.Context) error {
	in, err := p.input(ctx)
	if err != nil {
		return err
	}
	if p.seen.state.Services, err = p.site.Stack.Services(ctx); err != nil {
		return err
	}
	missing := p.needBootstrap(ctx)
	if in.Bootstrapped, err = p.bootstrapped(missing); err != nil {
		return err
	}
	files, err := render.Tree(in)
	if err != nil {
		return err
	}
	p.seen.in = in
	files[plan.AnswersFile] = render.File{Mode: 0o600, Data: p.opts.Answers.Marshal(site.Command(p.opts.Dir, "up"))}
	p.seen.wanted.OwnAnswers = !p.opts.Foreign
	p.seen.wanted.Files, p.seen.wanted.Dirs = files, render.Dirs(p.opts.Answers, files)
	p.seen.wanted.Image, p.seen.wanted.Hosts, p.seen.wanted.Profiles = in.Image, p.opts.Answers.Hosts(), render.Profiles(p.opts.Answers)
	if p.seen.state, err = p.site.Stack.Observe(ctx, p.seen.wanted, wantedImages(p.opts.Answers, in.Images)); err != nil {
		return err
	}
	p.seen.state.Certificates = map[string]string{}
	for _, host := range p.seen.wanted.Hosts {
		p.seen.state.Certificates[host] = p.issuer().cause(host)
	}
	p.seen.state.Dumps, p.seen.formats = archive.Dumps(p.opts.Dir), databases.Look(ctx, p.site)
	p.seen.state.Bootstrap, p.seen.state.Units, p.seen.state.Swap = missing, service.Lacking(p.site), p.swap()
	if missing == "" && p.resetsPassword() {
		p.seen.state.Bootstrap = "the administrator's password is missing"
	}
	return nil
}

// swap returns the swap file that the operator wants and this host lacks.
func (p *Prepared) swap() plan.Swap {
	if p.opts.Answers.SwapFile != answers.SwapYes {
		return plan.Swap{}
	}
	offer, _ := swapOffer(p.host, p.opts.Dir)
	return plan.Swap{Cause: offer.Why, Commands: offer.Commands}
}

// bootstrapped reports whether Rocket.Chat has its administrator: it confirms that now, or did
// so before and still has its database. With a new database the administrator must be created
// at once, because the first user to register would become one.
func (p *Prepared) bootstrapped(missing string) (bool, error) {
	if a := p.opts.Answers; !a.BundledRocketChat() || missing == "" {
		return a.BundledRocketChat(), nil
	}
	m, err := p.site.Stack.Tree().Manifest()
	if err != nil || !m.Bootstrapped || !p.opts.Answers.BundledMongo() {
		return m.Bootstrapped, err
	}
	have, err := os.ReadDir(p.site.Path("data/mongo/db"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return len(have) > 0, err
}

// resetsPassword reports whether the administrator exists but the file with the password is
// gone. In that case a new password is set in Rocket.Chat too.
func (p *Prepared) resetsPassword() bool {
	return p.seen.in.Bootstrapped && slices.Contains(p.seen.wanted.NewSecrets, secrets.AdminPassword)
}

// input gathers what the files are rendered from.
func (p *Prepared) input(ctx context.Context) (render.Input, error) {
	a := p.opts.Answers
	in := render.Input{Answers: a, Project: p.site.Stack.Project, Host: render.Host{MemoryMB: p.host.MemoryMB()}}
	var g errgroup.Group
	g.Go(func() (err error) {
		if p.seen.prog, err = stack.OpenProgram(p.opts.Program); err == nil {
			in.Image = p.seen.prog.Image()
		}
		return err
	})
	g.Go(func() (err error) { in.Images, err = p.images(); return err })
	g.Go(func() (err error) { in.Host.StartInterval, err = p.site.Stack.Engine().CanCheckStart(ctx); return err })
	g.Go(p.secrets)
	g.Go(func() (err error) {
		in.Roots = stack.Roots()
		if a.ACMECAFile != "" {
			p.seen.ca, err = os.ReadFile(a.ACMECAFile)
		}
		return answers.Unusable("acme_ca_file", err)
	})
	g.Go(func() (err error) {
		if a.TLS == answers.ACME && a.ACMEEABHMACFile != "" {
			in.EABKey, err = certs.ReadHMAC(a.ACMEEABHMACFile)
		}
		return answers.Unusable("acme_eab_hmac_file", err)
	})
	g.Go(func() (err error) {
		in.SMTPPassword, err = oneLine(a.SMTPPasswordFile)
		return answers.Unusable("smtp_password_file", err)
	})
	g.Go(func() (err error) {
		in.RegistrationToken, err = oneLine(a.RegistrationTokenFile)
		return answers.Unusable("rocketchat_registration_token_file", err)
	})
	g.Go(func() (err error) {
		if a.TracesHeadersFile != "" {
			if in.TraceHeaders, err = os.ReadFile(a.TracesHeadersFile); err == nil {
				_, err = config.Headers(in.TraceHeaders)
			}
		}
		return answers.Unusable("traces_headers_file", err)
	})
	for _, ca := range []struct {
		key, file string
		to        *[]byte
	}{
		{"bridge_database_ca_file", a.BridgeDatabaseCAFile, &in.DatabaseCA}, {"homeserver_database_ca_file", a.HomeserverDatabaseCAFile, &in.HomeserverDatabaseCA},
		{"mongo_ca_file", a.MongoCAFile, &in.MongoCA}, {"uploads_ca_file", a.UploadsCAFile, &in.UploadsCA},
	} {
		g.Go(func() (err error) {
			*ca.to, err = certs.Authorities(ca.file)
			return answers.Unusable(ca.key, err)
		})
	}
	g.Go(func() (err error) {
		if a.UploadsKeyFile == "" {
			return nil
		}
		access, key, err := offsite.Keys(a.UploadsKeyFile)
		if err == nil && strings.ContainsAny(access+key, "'\n\r") {
			err = fmt.Errorf("%s must hold no quotes", a.UploadsKeyFile)
		}
		in.UploadsAccessKey, in.UploadsSecretKey = access, secret.New(key)
		return answers.Unusable("uploads_key_file", err)
	})
	g.Go(func() (err error) {
		if a.TLS == answers.Files {
			p.seen.bundle, err = certs.ReadFiles(a.TLSCertFile, a.TLSKeyFile, a.Hosts(), time.Now())
		}
		return answers.Unusable("tls_cert_file", err)
	})
	err := g.Wait()
	if err == nil {
		err = errors.Join(attach.Secrets(a, p.seen.set), attach.Secrets(a, p.seen.disk))
	}
	in.Secrets, in.CA, in.Live = p.seen.set, p.seen.ca, p.live()
	return in, err
}

// secrets reads the secrets on disk and the rotation under way.
func (p *Prepared) secrets() (err error) {
	if p.seen.disk, p.seen.wanted.NewSecrets, err = secrets.Prepare(p.opts.Dir); err != nil {
		return err
	}
	if p.seen.turn = p.opts.Rotate; len(p.seen.turn) == 0 {
		if p.seen.turn, err = secrets.UnderWay(p.opts.Dir); err != nil {
			return err
		}
	}
	p.seen.set = maps.Clone(p.seen.disk)
	p.seen.turn.Into(p.seen.set)
	p.seen.wanted.Rotating = p.seen.turn.Names()
	return nil
}

// oneLine reads a secret from one of the operator's files; without a file it is empty.
func oneLine(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	text := strings.TrimSpace(string(data))
	if err == nil && (text == "" || strings.ContainsAny(text, "'\n\r")) {
		err = fmt.Errorf("%s must hold one line without quotes", name)
	}
	return []byte(text), err
}

// live returns what the operator wrote into bridge.yaml, if it can be read.
func (p *Prepared) live() *config.Live {
	c, err := config.Load(p.site.Path(plan.BridgeFile))
	if err != nil {
		return nil
	}
	return &c.Live
}

// wantedImages returns the third-party images that the answers ask for.
func wantedImages(a answers.Answers, all map[string]string) []string {
	names := []string{all["NGINX_IMAGE"]}
	if a.BundledRocketChat() {
		names = append(names, all["ROCKETCHAT_IMAGE"])
	}
	if a.BundledHomeserver() {
		names = append(names, all[homeserver.Of(a.Homeserver).Stack.ImageKey])
	}
	if a.BundledPostgres() {
		names = append(names, all["POSTGRES_IMAGE"])
	}
	if a.BundledMongo() {
		names = append(names, all["MONGO_IMAGE"])
	}
	if a.Monitoring {
		names = append(names, all["PROMETHEUS_IMAGE"])
	}
	if a.SynapseAdmin {
		names = append(names, all["SYNAPSE_ADMIN_IMAGE"])
	}
	return names
}

func (p *Prepared) needBootstrap(ctx context.Context) string {
	if !p.opts.Answers.BundledRocketChat() {
		return "" // its accounts are not managed here
	}
	rc := p.seen.state.Services["rocketchat"]
	if !rc.OK() || rc.Address == "" {
		return "Rocket.Chat is not running yet"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	missing, err := bootstrap.Missing(ctx, site.RocketChatURL(rc), bootstrap.AccountsOf(p.opts.Answers, p.seen.disk))
	if err != nil {
		return err.Error()
	}
	return missing
}
