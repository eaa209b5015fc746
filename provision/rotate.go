package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/rotate"
	"appliance/provision/secrets"
	"appliance/provision/site"
	"appliance/provision/trace"
)

// A Rotation is a prepared replacement of secrets: what it replaces, and the plan.
type Rotation struct {
	Secrets []rotate.Secret
	Plan    plan.Plan
	p       *Prepared
}

// PrepareRotation plans the replacement of the secrets with these keys, or of all that the
// installation can replace itself. It changes nothing, and refuses if anything but the secrets
// would change. Close what it returns.
func PrepareRotation(ctx context.Context, o Options, keys []string) (*Rotation, error) {
	s, err := site.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	o.Answers = s.Answers
	chosen, err := rotate.Choose(o.Answers, keys)
	if err != nil {
		return nil, err
	}
	if err := rotationIdle(o.Dir); err != nil {
		return nil, err
	}
	var names []secrets.Name
	for _, c := range chosen {
		names = append(names, c.Name)
	}
	r := &Rotation{Secrets: chosen}
	o.Replaces = names
	if r.p, err = Prepare(ctx, o); err != nil {
		return r, err
	}
	before, due := r.p.seen.wanted.Files, r.p.Plan
	turn, err := secrets.Begin(o.Dir, names)
	if err != nil {
		return r, err
	}
	r.p.opts.Rotate = turn
	if err := r.look(ctx); err != nil {
		return r, err
	}
	return r, otherChanges(due, before, r.p.seen.wanted.Files)
}

// otherChanges returns an error if more is due than the rotation causes. A file that has to be
// rewritten because a secret was edited by hand is one that the rotation writes anyway.
func otherChanges(due plan.Plan, before, after render.Files) error {
	for _, step := range due.Steps {
		write, files := step.Do.(plan.WriteFiles)
		files = files && !slices.ContainsFunc(write.Paths, func(name string) bool {
			return plan.Identity(name, before[name].Data) == plan.Identity(name, after[name].Data)
		})
		if !files && !slices.Contains(restarts, step.ID) {
			return &GateError{[]string{"there are other changes to apply: " + step.Title}, "apply them with: appliance up; then run this again"}
		}
	}
	return nil
}

// restarts are the steps that may be due besides a rotation: a service that is down because its
// secret is refused comes up with the new one.
var restarts = []string{"services", "load", "bootstrap", plan.UnitsStep}

// look plans with provisional values: placeholders stand for the values that a server will
// choose.
func (r *Rotation) look(ctx context.Context) error {
	turn := r.p.opts.Rotate
	shown := slices.Clone(turn)
	for i := range shown {
		if shown[i].New == "" {
			shown[i].New = strings.Repeat("0", len(shown[i].Old))
		}
	}
	// Manual edits are accepted here, so that keptFiles can say what is wrong with them.
	edits := r.p.opts.Edits
	r.p.opts.Rotate, r.p.opts.Edits = shown, plan.Accept
	defer func() { r.p.opts.Rotate, r.p.opts.Edits = turn, edits }()
	if err := r.p.look(ctx); err != nil {
		return err
	}
	r.Plan = r.p.Plan
	return r.p.keptFiles()
}

// keptFiles returns an error if a new secret belongs in a file whose edits the operator keeps.
func (p *Prepared) keptFiles() error {
	for name, record := range p.seen.state.Manifest.Files {
		if f, wanted := p.seen.wanted.Files[name]; wanted && record.Kept != "" && plan.Identity(name, f.Data) != record.Rendered {
			return &GateError{[]string{name + " was edited by hand, and the new secret would not get into it"},
				"discard the edit with: appliance up --overwrite; then run this again"}
		}
	}
	return nil
}

// rotationIdle returns an error while an earlier rotation is not complete.
func rotationIdle(dir string) error {
	turn, err := secrets.UnderWay(dir)
	if err == nil && len(turn) > 0 {
		err = &GateError{[]string{"the rotation of " + rotating(turn) + " was interrupted"}, "complete it with: appliance up"}
	}
	return err
}

// rotating names secrets as the command line does.
func rotating(turn secrets.Rotations) string {
	var keys []string
	for _, r := range turn {
		keys = append(keys, rotate.KeyOf(r.Name))
	}
	return strings.Join(keys, ", ")
}

// Close releases what PrepareRotation opened.
func (r *Rotation) Close() error {
	if r == nil || r.p == nil {
		return nil
	}
	return r.p.Close()
}

// Run replaces the secrets. If it fails, the old ones are put back; if it is interrupted, up
// completes it.
func (r *Rotation) Run(ctx context.Context, reporter Reporter) error {
	p := r.p
	unlock, err := p.site.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := rotationIdle(p.opts.Dir); err != nil {
		return err
	}
	turn := p.opts.Rotate
	p.opts.Rotate = nil // from here on the state on disk counts
	if err := turn.Save(p.opts.Dir); err != nil {
		return err
	}
	if err := p.ask(ctx, turn); err != nil {
		return errors.Join(err, secrets.Rotations(nil).Save(p.opts.Dir)) // nothing was changed
	}
	if err = p.again(ctx, reporter); err == nil {
		return nil
	}
	trace.Log(ctx).Debug("the rotation failed, the old secrets are put back", "error", err.Error())
	ctx = context.WithoutCancel(ctx)
	if back := turn.Back().Save(p.opts.Dir); back != nil {
		return errors.Join(err, back)
	}
	return errors.Join(err, p.again(ctx, reporter))
}

// ask makes servers generate the values that they choose themselves, and saves them.
func (p *Prepared) ask(ctx context.Context, turn secrets.Rotations) error {
	if err := rotate.Ask(ctx, p.site, turn); err != nil {
		return fmt.Errorf("ask for a new value: %w", err)
	}
	return turn.Save(p.opts.Dir)
}

// askAgain is ask for a rotation that was interrupted before ask was done. If it fails now,
// that secret is left as it is, because nothing was changed yet.
func (p *Prepared) askAgain(ctx context.Context) error {
	turn, err := secrets.UnderWay(p.opts.Dir)
	if err != nil || !slices.ContainsFunc(turn, func(r secrets.Rotation) bool { return r.New == "" }) {
		return err
	}
	if p.ask(ctx, turn) != nil && ctx.Err() == nil {
		turn = slices.DeleteFunc(turn, func(r secrets.Rotation) bool { return r.New == "" })
		return turn.Save(p.opts.Dir)
	}
	return ctx.Err()
}

// again makes a new plan and carries it out.
func (p *Prepared) again(ctx context.Context, r Reporter) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	return p.Execute(ctx, r)
}

func (e *executor) change() rotate.Change {
	return rotate.Change{Site: e.site, Rotations: e.seen.turn, Hear: e.hear()}
}

func (e *executor) Rotate(ctx context.Context, _ plan.Rotate) error { return e.change().Begin(ctx) }

func (e *executor) Prove(ctx context.Context, _ plan.Prove) error {
	if err := e.change().Finish(ctx); err != nil {
		return err
	}
	return secrets.Rotations(nil).Save(e.opts.Dir)
}
