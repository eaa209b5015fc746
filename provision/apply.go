package provision

import (
	"context"
	"errors"
	"slices"

	"appliance/provision/answers"
	"appliance/provision/bootstrap"
	"appliance/provision/certs"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/stack"
)

// Reporter hears what Apply does.
type Reporter = plan.Reporter

// Apply carries out the plan. It takes the host's lock and looks again first,
// because somebody else may have been at work since Prepare.
func (p *Prepared) Apply(ctx context.Context, r Reporter) error {
	if p.Plan.Empty() {
		return nil
	}
	unlock, err := p.stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	again, err := Prepare(ctx, p.opts)
	if err != nil {
		return err
	}
	defer func() { _ = again.Close() }()
	*p, again.stack = *again, p.stack
	return p.execute(ctx, r)
}

func (p *Prepared) execute(ctx context.Context, r Reporter) error {
	for i, step := range p.Plan.Steps {
		r.Step(step, plan.Started, "")
		if err := step.Do.Run(ctx, &executor{Prepared: p, step: step.ID, r: r}); err != nil {
			r.Step(step, plan.Failed, err.Error())
			for _, later := range p.Plan.Steps[i+1:] {
				r.Step(later, plan.NotReached, "")
			}
			return err
		}
		r.Step(step, plan.Done, "")
	}
	if p.Plan.Empty() {
		return nil
	}
	return p.stack.RememberLoaded(ctx)
}

// An executor carries out one step.
type executor struct {
	*Prepared
	step string
	r    Reporter
}

var _ plan.Executor = (*executor)(nil)

func (e *executor) MakeSecrets(_ context.Context, op plan.MakeSecrets) error {
	return secrets.Write(e.opts.Dir, e.set, op.Names)
}

// WriteFiles writes the files and then remembers what it wrote; if it is
// interrupted between, the files are simply the ones that are wanted.
func (e *executor) WriteFiles(_ context.Context, op plan.WriteFiles) error {
	if err := e.stack.MakeDirs(e.wanted.Dirs); err != nil {
		return err
	}
	if err := e.stack.WriteFiles(e.wanted.Files, op.Paths); err != nil {
		return err
	}
	for _, host := range e.wanted.Hosts {
		if err := certs.Placeholder(e.certsDir(), host); err != nil {
			return err
		}
	}
	return e.stack.SaveManifest(e.manifest(op.Paths))
}

// manifest is what is true of the files once they are written.
func (e *executor) manifest(written []string) plan.Manifest {
	m := plan.Manifest{Version: 1, Files: map[string]plan.Record{}, Permanent: e.opts.Answers.Permanent(), Bootstrapped: e.in.Bootstrapped}
	for name, f := range e.wanted.Files {
		record := plan.Record{Rendered: plan.Identity(name, f.Data)}
		if disk := e.state.Disk[name]; disk.Exists && !slices.Contains(written, name) {
			if have := plan.Identity(name, disk.Data); have != record.Rendered {
				record.Kept = have
			}
		}
		m.Files[name] = record
	}
	return m
}

// GetCertificate asks an authority while somebody answers its questions: the
// service of a running installation, or this process.
func (e *executor) GetCertificate(ctx context.Context, op plan.GetCertificate) error {
	switch e.opts.Answers.TLS {
	case answers.Internal:
		return certs.IssueInternal(e.certsDir(), op.Host)
	case answers.Files:
		return certs.InstallFiles(e.certsDir(), op.Host, e.bundle)
	}
	if op.Started {
		return certs.Await(ctx, e.acme(), op.Host)
	}
	services, err := e.stack.Services(ctx)
	if err != nil {
		return err
	}
	if !services["certs"].OK() || !services["nginx"].OK() {
		stop, err := certs.Answer(ctx, e.certsDir(), httpAddress(e.opts.Answers))
		if err != nil {
			return err
		}
		defer stop()
	}
	return certs.Obtain(ctx, e.acme(), op.Host)
}

func (e *executor) BuildImage(ctx context.Context, _ plan.BuildImage) error {
	return e.stack.BuildImage(ctx, e.prog)
}

func (e *executor) PullImages(ctx context.Context, op plan.PullImages) error {
	unlocked, err := e.stack.RestoreLocked(ctx, e.progress, op.Names...)
	if err != nil || len(unlocked) == 0 {
		return err
	}
	return e.stack.Pull(ctx, e.hear)
}

func (e *executor) LockImages(ctx context.Context, _ plan.LockImages) error {
	return e.stack.LockImages(ctx)
}

func (e *executor) progress(what string, done, total int64) { e.r.Progress(e.step, what, done, total) }

func (e *executor) StartServices(ctx context.Context, op plan.StartServices) error {
	if err := e.stack.Remove(ctx, op.Remove, e.hear); err != nil {
		return err
	}
	if e.stack.Elsewhere(ctx, e.opts.Answers.DockerSubnet) { // a network in use cannot be moved
		if err := e.stack.Down(ctx, false, e.hear); err != nil {
			return err
		}
	}
	if err := e.stack.Up(ctx, e.hear); err != nil {
		return err
	}
	if !e.opts.upgrade { // which may have to go back
		e.stack.RemoveOldImages(ctx, e.prog.Image())
	}
	return nil
}

func (e *executor) Load(ctx context.Context, op plan.Load) error {
	return e.stack.Load(ctx, e.state.Starts, op.Wait, op.Services...)
}

// hear passes on what Compose reports.
func (e *executor) hear(ev stack.Event) {
	if ev.Error || ev.Text == "" {
		return
	}
	id := ev.ID
	if ev.ParentID != "" {
		id = ev.ParentID + " " + id
	}
	e.r.Progress(e.step, id+" "+ev.Text, ev.Current, ev.Total)
}

func (e *executor) Bootstrap(ctx context.Context, _ plan.Bootstrap) error {
	services, err := e.stack.Services(ctx)
	if err != nil {
		return err
	}
	rc := services["rocketchat"]
	if rc.State != "running" {
		return &stack.NotRunningError{Service: "rocketchat"}
	}
	if err := bootstrap.Run(ctx, rocketchatURL(rc), e.accounts()); err != nil || e.in.Bootstrapped {
		return err
	}
	return e.forgetPassword(ctx)
}

// forgetPassword starts Rocket.Chat again without the administrator's password in
// its environment.
func (e *executor) forgetPassword(ctx context.Context) error {
	const name = "rocketchat.env"
	e.in.Bootstrapped = true
	files, err := render.Tree(e.in)
	if err != nil {
		return err
	}
	m, err := e.stack.Manifest()
	if err != nil {
		return err
	}
	record := m.Files[name]
	record.Rendered, m.Bootstrapped = plan.Identity(name, files[name].Data), true
	m.Files[name] = record
	if record.Kept != "" { // it is the operator's
		return e.stack.SaveManifest(m)
	}
	err = errors.Join(e.stack.WriteFiles(files, []string{name}), e.stack.SaveManifest(m))
	if err != nil {
		return err
	}
	return e.stack.UpOnly(ctx, e.hear, "rocketchat")
}
