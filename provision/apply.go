package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"appliance/provision/archive"
	"appliance/provision/bootstrap"
	"appliance/provision/certs"
	"appliance/provision/external"
	"appliance/provision/homeserver"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/service"
	"appliance/provision/site"
	"appliance/provision/stack"
	"appliance/provision/trace"
	"appliance/templates"
)

// A Reporter receives the progress of Apply.
type Reporter = plan.Reporter

// Apply carries out the plan. It first takes the host's lock and observes the host again,
// because another run may have changed it since Prepare.
func (p *Prepared) Apply(ctx context.Context, r Reporter) error {
	if p.Plan.Empty() {
		return nil
	}
	unlock, err := p.site.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.askAgain(ctx); err != nil {
		return err
	}
	return p.again(ctx, r)
}

// Execute is Apply for a caller that holds the host's lock and has just made the plan.
func (p *Prepared) Execute(ctx context.Context, r Reporter) error {
	for i, step := range p.Plan.Steps {
		err := plan.Track(r, step, func() error { return step.Do.Run(ctx, &executor{Prepared: p, step: step.ID, r: r}) })
		if err != nil {
			for _, later := range p.Plan.Steps[i+1:] {
				r.Step(later, plan.NotReached, "")
			}
			return err
		}
	}
	if p.Plan.Empty() {
		return nil
	}
	return errors.Join(p.site.Stack.Loaded().Remember(ctx), secrets.Remember(p.opts.Dir, p.opts.Edits == plan.Accept))
}

// An executor carries out one step.
type executor struct {
	*Prepared
	step string
	r    Reporter
}

var _ plan.Executor = (*executor)(nil)

func (e *executor) MakeSecrets(ctx context.Context, op plan.MakeSecrets) error {
	trace.Log(ctx).Debug("write secrets", "names", op.Names)
	names := slices.Clone(op.Names)
	if e.resetsPassword() { // Bootstrap writes it once a sign-in with it works
		names = slices.DeleteFunc(names, func(n secrets.Name) bool { return n == secrets.AdminPassword })
	}
	return secrets.Write(e.opts.Dir, e.seen.set, names)
}

// WriteFiles writes the files and then records what it wrote. If it is interrupted in between,
// the files already match what is wanted.
func (e *executor) WriteFiles(ctx context.Context, op plan.WriteFiles) error {
	if err := e.site.Stack.Tree().MakeDirs(e.seen.wanted.Dirs); err != nil {
		return err
	}
	if err := e.site.Stack.Tree().Write(e.seen.wanted.Files, op.Paths); err != nil {
		return err
	}
	for _, name := range op.Paths {
		trace.Log(ctx).Debug("wrote", "file", e.site.Path(name), "bytes", len(e.seen.wanted.Files[name].Data))
	}
	_ = os.Remove(e.site.Path(site.PurgedFile)) // left by an earlier installation
	for _, host := range e.seen.wanted.Hosts {
		if err := certs.Placeholder(e.site.CertsDir(), host); err != nil {
			return err
		}
	}
	return e.site.Stack.Tree().SaveManifest(e.manifest(op.Paths))
}

// manifest describes the files once they are written.
func (e *executor) manifest(written []string) plan.Manifest {
	m := plan.Manifest{Version: plan.ManifestVersion, Files: map[string]plan.Record{}, Permanent: e.opts.Answers.Permanent(), Bootstrapped: e.seen.in.Bootstrapped}
	if e.opts.Answers.BundledHomeserver() {
		m.HomeserverDatabase = e.opts.Answers.HomeserverDatabaseAt()
	}
	for name, f := range e.seen.wanted.Files {
		record := plan.Record{Rendered: plan.Identity(name, f.Data)}
		if disk := e.seen.state.Disk[name]; disk.Exists && !slices.Contains(written, name) {
			if have := plan.Identity(name, disk.Data); have != record.Rendered {
				record.Kept = have
			}
		}
		m.Files[name] = record
	}
	return m
}

func (e *executor) GetCertificate(ctx context.Context, op plan.GetCertificate) error {
	return e.issuer().get(ctx, op)
}

// LoadDatabases fills new databases with the dumps of a backup.
func (e *executor) LoadDatabases(ctx context.Context, op plan.LoadDatabases) error {
	return archive.LoadDatabases(ctx, e.site, op.Names, e.hear())
}

func (e *executor) BuildImage(ctx context.Context, _ plan.BuildImage) error {
	return e.site.Stack.Images().Build(ctx, e.seen.prog)
}

func (e *executor) PullImages(ctx context.Context, op plan.PullImages) error {
	unlocked, err := e.site.Stack.Images().RestoreLocked(ctx, e.progress, op.Names...)
	if err != nil || len(unlocked) == 0 {
		return err
	}
	return e.site.Stack.Compose().Pull(ctx, e.hear())
}

func (e *executor) LockImages(ctx context.Context, _ plan.LockImages) error {
	return e.site.Stack.Images().Lock(ctx)
}

func (e *executor) progress(what string, done, total int64) { e.r.Progress(e.step, what, done, total) }

func (e *executor) StartServices(ctx context.Context, op plan.StartServices) error {
	if err := e.site.Stack.Compose().Remove(ctx, op.Remove, e.hear()); err != nil {
		return err
	}
	if e.site.Stack.Engine().Elsewhere(ctx, e.opts.Answers.DockerSubnet) { // a network in use cannot be moved
		if err := e.site.Stack.Compose().Down(ctx, false, e.hear()); err != nil {
			return err
		}
	}
	if err := e.site.Stack.Compose().Up(ctx, e.hear()); err != nil {
		return err
	}
	if err := e.amendHomeserver(ctx); err != nil {
		return err
	}
	if !e.opts.Upgrade { // an upgrade may need them to roll back
		e.site.Stack.Images().RemoveOld(ctx, e.seen.prog.Image())
	}
	return nil
}

// amendHomeserver runs the SQL that adds what the homeserver's database lacks. The homeserver
// is already up, so its tables exist.
func (e *executor) amendHomeserver(ctx context.Context) error {
	run := homeserver.Of(e.opts.Answers.Homeserver).Stack
	if run == nil || run.Amend == "" {
		return nil
	}
	text, err := templates.FS.ReadFile(run.Amend)
	if err != nil {
		return err
	}
	if _, err := external.InHomeserver(ctx, e.site.Stack, e.opts.Answers, string(text)); err != nil {
		return fmt.Errorf("amend the database of %s: %w", e.opts.Answers.Homeserver, err)
	}
	return nil
}

func (e *executor) Load(ctx context.Context, op plan.Load) error {
	return e.site.Stack.Loaded().Restart(ctx, e.seen.state.Starts, op.Wait, op.Services...)
}

func (e *executor) MakeSwap(ctx context.Context, _ plan.MakeSwap) error {
	return stack.SwapFileOf(e.opts.Dir).Make(ctx)
}

// InstallUnits installs the missing units and creates the key that the nightly backup needs, so
// that its owner hears of it now.
func (e *executor) InstallUnits(ctx context.Context, _ plan.InstallUnits) error {
	if err := service.Complete(ctx, e.site, e.opts.Program); err != nil {
		return err
	}
	made, err := archive.EnsureKey(e.site)
	if err != nil || !made {
		return err
	}
	key, err := archive.Key(e.site)
	e.key = &key
	return err
}

// hear returns a callback that forwards the progress that Compose reports.
func (e *executor) hear() func(stack.Event) { return stack.Progress(e.r, e.step) }

func (e *executor) Bootstrap(ctx context.Context, _ plan.Bootstrap) error {
	services, err := e.site.Stack.Services(ctx)
	if err != nil {
		return err
	}
	rc := services["rocketchat"]
	if rc.State != "running" {
		return &stack.NotRunningError{Service: "rocketchat"}
	}
	base, accounts := site.RocketChatURL(rc), bootstrap.AccountsOf(e.opts.Answers, e.seen.set)
	if e.resetsPassword() {
		if err := bootstrap.ResetPassword(ctx, base, accounts); err != nil {
			return err
		}
		return secrets.Write(e.opts.Dir, e.seen.set, []secrets.Name{secrets.AdminPassword})
	}
	if err := bootstrap.Run(ctx, base, accounts); err != nil || e.seen.in.Bootstrapped {
		return err
	}
	return e.forgetPassword(ctx)
}

// forgetPassword restarts Rocket.Chat without the administrator's password in its
// environment.
func (e *executor) forgetPassword(ctx context.Context) error {
	const name = "rocketchat.env"
	e.seen.in.Bootstrapped = true
	files, err := render.Tree(e.seen.in)
	if err != nil {
		return err
	}
	m, err := e.site.Stack.Tree().Manifest()
	if err != nil {
		return err
	}
	record := m.Files[name]
	record.Rendered, m.Bootstrapped = plan.Identity(name, files[name].Data), true
	m.Files[name] = record
	if record.Kept != "" { // the operator keeps their own version
		return e.site.Stack.Tree().SaveManifest(m)
	}
	err = errors.Join(e.site.Stack.Tree().Write(files, []string{name}), e.site.Stack.Tree().SaveManifest(m))
	if err != nil {
		return err
	}
	return e.site.Stack.Compose().UpOnly(ctx, e.hear(), "rocketchat")
}
