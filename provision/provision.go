// Package provision brings a host to what the answers ask for: from answers to a
// running stack, and from a changed answer to a changed stack. It wires the
// packages below it and decides nothing that they can decide:
//
//	answers, secrets -> render -> Files ┐
//	stack.Observe, certs, bootstrap -> State ┴> plan.Make -> Plan -> Apply
//
// Prepare only looks. Apply holds the host's lock, looks again, and carries out
// the plan step by step; a failure in the middle leaves steps "not reached", and
// the next run starts from what it then observes.
package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/config"
	"appliance/provision/answers"
	"appliance/provision/bootstrap"
	"appliance/provision/certs"
	"appliance/provision/finding"
	"appliance/provision/plan"
	"appliance/provision/preflight"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/stack"
)

// Options say what to provision.
type Options struct {
	Dir     string // the installation directory, absolute
	Answers answers.Answers
	Edits   plan.Choice // what becomes of files that somebody edited
	Program string      // path of this program, which becomes an image

	upgrade  bool    // changes that only an upgrade may make are allowed
	versions *[]byte // content of versionsFile to plan with, when it is to change
}

// A Prepared is a host that has been looked at, and what has to be done.
type Prepared struct {
	Findings []finding.Finding
	Plan     plan.Plan

	opts   Options
	in     render.Input
	stack  *stack.Stack
	host   preflight.Host
	wanted plan.Wanted
	state  plan.State
	set    secrets.Set
	prog   stack.Program
	ca     []byte
	bundle []byte // key and certificate, with tls: files
}

// Prepare looks at the host and plans. It changes nothing.
func Prepare(ctx context.Context, o Options) (*Prepared, error) {
	s, err := stack.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	p := &Prepared{opts: o, stack: s, host: preflight.RealHost(s)}
	if err := errors.Join(p.checkRestore(), p.checkPermanent()); err != nil {
		return nil, err
	}
	var g errgroup.Group
	g.Go(func() error { p.Findings = preflight.Run(ctx, p.host, o.Answers, o.Dir); return nil })
	var observeErr error
	g.Go(func() error { observeErr = p.observe(ctx); return nil })
	_ = g.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if finding.Worst(p.Findings) == finding.Fail {
		return p, &NotReadyError{finding.Failures(p.Findings)}
	}
	if observeErr != nil {
		return p, observeErr
	}
	if edited := p.edited(); len(edited) > 0 {
		p.Findings = append(p.Findings, edited...)
		return p, &NotReadyError{edited}
	}
	if err := p.gate(); err != nil {
		return p, err
	}
	p.Plan = plan.Make(p.wanted, p.state, o.Edits)
	return p, nil
}

// LookAtHost finds out what kind of host this is, as far as that does not depend
// on answers that nobody has given yet.
func LookAtHost(ctx context.Context, dir string, a answers.Answers) ([]finding.Finding, error) {
	s, err := stack.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	findings := preflight.Run(ctx, preflight.RealHost(s), a, dir)
	return slices.DeleteFunc(findings, func(f finding.Finding) bool {
		return strings.HasPrefix(f.Check, "dns-") || f.Check == "caa"
	}), nil
}

// Close ends what Prepare opened.
func (p *Prepared) Close() error { return p.stack.Close() }

// checkPermanent refuses answers that can no longer change.
func (p *Prepared) checkPermanent() error {
	m, err := p.stack.Manifest()
	if err != nil {
		return err
	}
	now := p.opts.Answers.Permanent()
	for _, f := range answers.Fields {
		if was, ok := m.Permanent[f.Key]; ok && f.Permanent && was != now[f.Key] {
			return &PermanentError{Key: f.Key, Was: was, Now: now[f.Key], Dir: p.opts.Dir}
		}
	}
	return nil
}

// observe finds out what is wanted and what is there.
func (p *Prepared) observe(ctx context.Context) error {
	in, err := p.input(ctx)
	if err != nil {
		return err
	}
	if p.state.Services, err = p.stack.Services(ctx); err != nil {
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
	p.in = in
	files[plan.AnswersFile] = render.File{Mode: 0o600, Data: p.opts.Answers.Marshal()}
	p.wanted.Files, p.wanted.Dirs = files, render.Dirs(p.opts.Answers, files)
	p.wanted.Image, p.wanted.Hosts, p.wanted.Profiles = in.Image, p.opts.Answers.Hosts(), render.Profiles(p.opts.Answers)
	if p.state, err = p.stack.Observe(ctx, p.wanted, wantedImages(p.opts.Answers, in.Images)); err != nil {
		return err
	}
	p.state.Certificates = map[string]string{}
	for _, host := range p.wanted.Hosts {
		p.state.Certificates[host] = p.needCertificate(host)
	}
	p.state.Dumps = dumps(p.opts.Dir)
	p.state.Bootstrap = missing
	return nil
}

// bootstrapped reports whether Rocket.Chat has its administrator: it says so now, or
// has done so and still has its database. One with a new database must not wait for
// its administrator, because the first who registers would be that.
func (p *Prepared) bootstrapped(missing string) (bool, error) {
	if a := p.opts.Answers; !a.BundledRocketChat() || missing == "" {
		return a.BundledRocketChat(), nil
	}
	m, err := p.stack.Manifest()
	if err != nil || !m.Bootstrapped || !p.opts.Answers.BundledMongo() {
		return m.Bootstrapped, err
	}
	have, err := os.ReadDir(p.path("data/mongo/db"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return len(have) > 0, err
}

// input gathers what the files are rendered from.
func (p *Prepared) input(ctx context.Context) (render.Input, error) {
	a := p.opts.Answers
	in := render.Input{Answers: a, Project: p.stack.Project, Host: render.Host{MemoryMB: p.host.MemoryMB()}}
	var g errgroup.Group
	g.Go(func() (err error) {
		if p.prog, err = stack.OpenProgram(p.opts.Program); err == nil {
			in.Image = p.prog.Image()
		}
		return err
	})
	g.Go(func() (err error) { in.Images, err = p.images(); return err })
	g.Go(func() (err error) { in.Host.StartInterval, err = p.stack.CanCheckStart(ctx); return err })
	g.Go(func() (err error) { p.set, p.wanted.NewSecrets, err = secrets.Prepare(p.opts.Dir); return err })
	g.Go(func() (err error) {
		in.Roots = stack.Roots()
		if a.ACMECAFile != "" {
			p.ca, err = os.ReadFile(a.ACMECAFile)
		}
		return asAnswerError("acme_ca_file", err)
	})
	g.Go(func() (err error) {
		if a.TLS == answers.ACME && a.ACMEEABHMACFile != "" {
			in.EABKey, err = certs.ReadHMAC(a.ACMEEABHMACFile)
		}
		return asAnswerError("acme_eab_hmac_file", err)
	})
	g.Go(func() (err error) {
		if a.TLS == answers.Files {
			p.bundle, err = certs.ReadFiles(a.TLSCertFile, a.TLSKeyFile, a.Hosts(), time.Now())
		}
		return asAnswerError("tls_cert_file", err)
	})
	err := g.Wait()
	if err == nil {
		err = p.foreignSecrets()
	}
	in.Secrets, in.CA, in.Live = p.set, p.ca, p.live()
	return in, err
}

func asAnswerError(key string, err error) error {
	if err == nil {
		return nil
	}
	reason := "cannot be used: " + err.Error()
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		reason += "; " + hinted.Hint()
	}
	return &answers.InvalidError{Problems: []answers.Problem{{Key: key, Reason: reason}}}
}

// live returns what the operator wrote into bridge.yaml, if it can be read.
func (p *Prepared) live() *config.Live {
	c, err := config.Load(p.path(plan.BridgeFile))
	if err != nil {
		return nil
	}
	return &c.Live
}

func (p *Prepared) path(below string) string { return filepath.Join(p.opts.Dir, below) }
func (p *Prepared) certsDir() string         { return p.path("data/certs") }

// wantedImages are the images of other people that the answers ask for.
func wantedImages(a answers.Answers, all map[string]string) []string {
	names := []string{all["NGINX_IMAGE"]}
	if a.BundledRocketChat() {
		names = append(names, all["ROCKETCHAT_IMAGE"])
	}
	if a.BundledHomeserver() {
		names = append(names, all["POSTGRES_IMAGE"], all[strings.ToUpper(a.Homeserver)+"_IMAGE"])
	}
	if a.BundledMongo() {
		names = append(names, all["MONGO_IMAGE"])
	}
	if a.SynapseAdmin {
		names = append(names, all["SYNAPSE_ADMIN_IMAGE"])
	}
	return names
}

func (p *Prepared) acme() certs.Config {
	return render.Certificates(p.opts.Answers, p.certsDir(), p.opts.Answers.ACMECAFile)
}

func (p *Prepared) needCertificate(host string) string {
	switch p.opts.Answers.TLS {
	case answers.Internal:
		return certs.NeedInternal(p.certsDir(), host, time.Now())
	case answers.Files:
		return certs.NeedFiles(p.certsDir(), host, p.bundle)
	}
	return certs.NeedACME(p.acme(), host, time.Now())
}

func (p *Prepared) needBootstrap(ctx context.Context) string {
	if !p.opts.Answers.BundledRocketChat() {
		return "" // whose accounts are its owner's business
	}
	rc := p.state.Services["rocketchat"]
	if !rc.OK() || rc.Address == "" {
		return "Rocket.Chat is not running yet"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	missing, err := bootstrap.Missing(ctx, rocketchatURL(rc), p.accounts())
	if err != nil {
		return err.Error()
	}
	return missing
}

func rocketchatURL(s plan.Service) string { return fmt.Sprintf("http://%s:3000", s.Address) }

func (p *Prepared) accounts() bootstrap.Accounts {
	return bootstrap.Accounts{
		BridgeUserID: render.BridgeUserID, BridgeToken: p.set[secrets.RocketChatToken],
		AdminName: p.opts.Answers.AdminUsername, AdminEmail: p.opts.Answers.AdminEmail, AdminPass: p.set[secrets.AdminPassword],
	}
}

// edited returns a finding for every file that somebody changed by hand, unless
// it has been said what becomes of them.
func (p *Prepared) edited() []finding.Finding {
	if p.opts.Edits != plan.Ask {
		return nil
	}
	var out []finding.Finding
	for _, name := range plan.Edited(p.wanted.Files, p.state) {
		f := finding.Failure(p.path(name)+" was changed by hand", plan.Difference(name, p.state.Disk[name].File, p.wanted.Files[name]),
			"keep what is there with: appliance up --accept-edits, or put ours back with: appliance up --overwrite")
		f.Check = "edited-file"
		out = append(out, f)
	}
	return out
}
