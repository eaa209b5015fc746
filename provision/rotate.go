package provision

import (
	"context"
	"errors"

	"appliance/provision/plan"
	"appliance/provision/secrets"
	"appliance/provision/site"
)

// RotateCreateToken replaces the secret with which the bridge signs in its puppets,
// and restarts Rocket.Chat and the bridge with the new one. Tokens that were issued
// under the old one stay valid. If it fails, the old secret is put back; if it is
// interrupted, up completes it.
func RotateCreateToken(ctx context.Context, o Options, r Reporter) error {
	p, err := prepareRotation(ctx, o)
	if p != nil {
		defer func() { _ = p.Close() }()
	}
	if err != nil {
		return err
	}
	unlock, err := p.site.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	// The bridge must not sign in puppets while the two know different secrets. The
	// plan starts it again, after Rocket.Chat.
	err = plan.Track(r, plan.Step{ID: "stop", Title: "stop the bridge"}, func() error {
		stopped, err := p.site.Stack.Stop(ctx, "bridge")
		if err != nil {
			err = errors.Join(err, p.site.Stack.Start(context.WithoutCancel(ctx), stopped))
		}
		return err
	})
	if err != nil {
		return err
	}
	undo, err := secrets.Replace(p.opts.Dir, secrets.CreateTokenSecret)
	if err == nil {
		err = p.again(ctx, r)
	}
	if err == nil {
		return nil
	}
	if undo != nil {
		err = errors.Join(err, undo())
	}
	return errors.Join(err, p.again(context.WithoutCancel(ctx), r))
}

// prepareRotation refuses if the secret is not ours, or if anything but the secret
// would change.
func prepareRotation(ctx context.Context, o Options) (*Prepared, error) {
	s, err := site.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	if o.Answers = s.Answers; !o.Answers.BundledRocketChat() {
		return nil, &GateError{[]string{"the secret belongs to the external Rocket.Chat"},
			"change CREATE_TOKENS_FOR_USERS_SECRET there, write it to " + o.Answers.RocketChatSecretFile + ", and run: appliance up"}
	}
	m, err := s.Stack.Tree().Manifest()
	if err != nil {
		return nil, err
	}
	if m.Files["rocketchat.env"].Kept != "" {
		return nil, &GateError{[]string{"rocketchat.env was edited by hand, and the new secret would not get into it"},
			"discard the edit with: appliance up --overwrite; then run this again"}
	}
	p, err := Prepare(ctx, o)
	if err == nil && !p.Plan.Empty() {
		err = &GateError{[]string{"there are other changes to apply"}, "apply them with: appliance up; then run this again"}
	}
	return p, err
}

// again makes a new plan and carries it out.
func (p *Prepared) again(ctx context.Context, r Reporter) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	return p.Execute(ctx, r)
}
