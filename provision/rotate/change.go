package rotate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
	"appliance/provision/bootstrap"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// A Change is a rotation of secrets in one installation.
type Change struct {
	Site      *site.Site
	Rotations secrets.Rotations
	Hear      func(stack.Event) // the progress that Compose reports
}

// has reports whether one of the secrets is replaced.
func (c Change) has(names ...secrets.Name) bool {
	return slices.ContainsFunc(c.Rotations.Names(), func(n secrets.Name) bool { return slices.Contains(names, n) })
}

// Begin sets the new passwords in the databases and writes the new secrets to disk. The bridge
// is stopped if it must not meet a server that has another secret; whatever starts the services
// starts it again.
func (c Change) Begin(ctx context.Context) error {
	if slices.ContainsFunc(c.Rotations, func(r secrets.Rotation) bool { return stops(c, r.Name) }) {
		if stopped, err := c.Site.Stack.Stop(ctx, "bridge"); err != nil {
			return errors.Join(err, c.Site.Stack.Start(context.WithoutCancel(ctx), stopped))
		}
	}
	if r, ok := c.Rotations.Of(secrets.PostgresPassword); ok {
		if err := c.ensure(ctx, "postgres"); err != nil {
			return err
		}
		if err := setPostgres(ctx, c.Site.Stack, r.New); err != nil {
			return err
		}
	}
	mongo := c.has(secrets.MongoRootPassword, secrets.MongoPassword, secrets.MongoKeyfile)
	if mongo {
		if err := c.ensure(ctx, "mongo"); err != nil {
			return err
		}
		if err := c.setMongo(ctx); err != nil {
			return err
		}
	}
	if err := c.write(); err != nil || !mongo {
		return err
	}
	return c.restart(ctx, "mongo") // it sees new files when it starts
}

// stops reports whether the bridge stops while a secret is replaced.
func stops(c Change, name secrets.Name) bool {
	for _, s := range all(c.Site.Answers) {
		if s.Name == name {
			return slices.Contains(s.Restarts, "bridge")
		}
	}
	return false
}

// write puts the new secrets on disk. The administrator's password follows once a sign-in with
// it works.
func (c Change) write() error {
	for _, r := range c.Rotations {
		if r.Name == secrets.AdminPassword || r.New == "" {
			continue
		}
		if err := secrets.Replace(c.Site.Dir, r.Name, r.New); err != nil {
			return err
		}
	}
	return nil
}

// ensure starts a service that does not run.
func (c Change) ensure(ctx context.Context, service string) error {
	services, err := c.Site.Stack.Services(ctx)
	if err != nil || services[service].State == "running" {
		return err
	}
	return c.Site.Stack.Compose().UpOnly(ctx, c.Hear, service)
}

// healthyWithin is how long a database may take to be healthy again.
const healthyWithin = 3 * time.Minute

func (c Change) restart(ctx context.Context, service string) error {
	stopped, err := c.Site.Stack.Stop(ctx, service)
	err = errors.Join(err, c.Site.Stack.Start(context.WithoutCancel(ctx), stopped))
	if err != nil {
		return fmt.Errorf("restart %s: %w", service, err)
	}
	return c.Site.Stack.AwaitHealthy(ctx, healthyWithin, service)
}

// Finish makes sure that each server accepts the new secrets and refuses the old ones. The
// services have to run with the new ones.
func (c Change) Finish(ctx context.Context) error {
	if r, ok := c.Rotations.Of(secrets.AdminPassword); ok {
		if err := c.setAdmin(ctx, r); err != nil {
			return err
		}
	}
	if err := c.verify(ctx, true); err != nil {
		return err
	}
	if r, ok := c.Rotations.Of(secrets.RocketChatToken); ok { // last, because it cannot be taken back
		if err := c.forget(ctx, r); err != nil {
			return err
		}
	}
	return c.verify(ctx, false)
}

// verify checks the new values with the servers, or the old ones.
func (c Change) verify(ctx context.Context, fresh bool) error {
	var errs []error
	for _, r := range c.Rotations {
		value := r.Old
		if fresh {
			value = r.New
		}
		if r.New == "" || r.Old == r.New {
			continue
		}
		var accepted, asked bool
		err := persist(ctx, func() (err error) {
			accepted, asked, err = Accepted(ctx, c.Site, r.Name, value)
			return err
		})
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", KeyOf(r.Name), err))
		case asked && fresh && !accepted:
			errs = append(errs, fmt.Errorf("%s: the new value is refused", KeyOf(r.Name)))
		case asked && !fresh && accepted:
			errs = append(errs, fmt.Errorf("%s: the old value is still accepted", KeyOf(r.Name)))
		}
	}
	return errors.Join(errs...)
}

// chat returns a client of Rocket.Chat for the bridge's account, signed in with a token.
func chat(ctx context.Context, s *site.Site, token string) (*rocketchat.Client, error) {
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return nil, err
	}
	rc := services["rocketchat"]
	if rc.State != "running" {
		return nil, &stack.NotRunningError{Service: "rocketchat"}
	}
	return rocketchat.New(site.RocketChatURL(rc), render.BridgeUserID, secret.New(token)), nil
}

// setAdmin sets the administrator's password and writes it to disk once a sign-in with it works.
func (c Change) setAdmin(ctx context.Context, r secrets.Rotation) error {
	set, _, err := secrets.Prepare(c.Site.Dir)
	if err != nil {
		return err
	}
	client, err := chat(ctx, c.Site, set[secrets.RocketChatToken].Reveal())
	if err != nil {
		return err
	}
	set[secrets.AdminPassword] = secret.New(r.New)
	if err := bootstrap.ResetPassword(ctx, client.Base(), bootstrap.AccountsOf(c.Site.Answers, set)); err != nil {
		return err
	}
	return secrets.Replace(c.Site.Dir, secrets.AdminPassword, r.New)
}

// forget removes the other access tokens of the bridge's account that this program made,
// whether the old one is among them or was lost before.
func (c Change) forget(ctx context.Context, r secrets.Rotation) error {
	client, err := chat(ctx, c.Site, r.New)
	if err != nil {
		return err
	}
	return persist(ctx, func() error {
		list, err := client.AccessTokens(ctx)
		for _, t := range list {
			ours := t.Name == tokenName || strings.HasPrefix(t.Name, tokenName+"-")
			if err == nil && ours && t.End != "" && !strings.HasSuffix(r.New, t.End) {
				err = client.RemoveAccessToken(ctx, t.Name)
			}
		}
		return err
	})
}

// tokenName is the name of the first access token of the bridge's account; each later one has a
// suffix.
const tokenName = "bridge"

// Ask makes Rocket.Chat generate the new values that it chooses itself. If it does not accept
// the token on disk, the administrator's password and the create-token secret open the account.
func Ask(ctx context.Context, s *site.Site, rotations secrets.Rotations) error {
	for i, r := range rotations {
		if r.New != "" {
			continue
		}
		client, err := chat(ctx, s, r.Old)
		if err != nil {
			return err
		}
		var token secret.String
		err = persist(ctx, func() (err error) {
			token, err = client.NewAccessToken(ctx, r.Label)
			return err
		})
		if rocketchat.Status(err) == http.StatusUnauthorized {
			if token, err = throughAdmin(ctx, s, client, r.Label); err != nil {
				err = &ClosedError{Admin: s.Answers.AdminUsername, File: secrets.Path(s.Dir, secrets.AdminPassword), Cause: err}
			}
		}
		if err != nil {
			return err
		}
		rotations[i].New = token.Reveal()
	}
	return nil
}

// throughAdmin makes an access token of the bridge's account without having one.
func throughAdmin(ctx context.Context, s *site.Site, client *rocketchat.Client, label string) (token secret.String, err error) {
	set, _, err := secrets.Prepare(s.Dir)
	if err != nil {
		return token, err
	}
	err = persist(ctx, func() error {
		admin, err := client.Login(ctx, s.Answers.AdminUsername, set[secrets.AdminPassword])
		if err != nil {
			return &signInError{err}
		}
		defer func() { _ = admin.Logout(ctx) }()
		session, err := openAccount(ctx, s, admin, set[secrets.CreateTokenSecret])
		if err != nil {
			return err
		}
		own := client.As(render.BridgeUserID, session)
		defer func() { _ = own.Logout(ctx) }()
		token, err = own.NewAccessToken(ctx, label)
		return err
	})
	return token, err
}

// openAccount makes the administrator sign in as the bridge's account. The secret that this
// takes may differ on disk from the one that Rocket.Chat was started with, which then counts.
func openAccount(ctx context.Context, s *site.Site, admin *rocketchat.Client, onDisk secret.String) (secret.String, error) {
	session, err := admin.CreateToken(ctx, render.BridgeUserID, onDisk)
	if status := rocketchat.Status(err); status != http.StatusBadRequest && status != http.StatusForbidden {
		return session, err
	}
	started, envErr := s.Stack.Engine().Variable(ctx, "rocketchat", "CREATE_TOKENS_FOR_USERS_SECRET")
	if envErr != nil || started.Reveal() == "" || started.Reveal() == onDisk.Reveal() {
		return session, err
	}
	return admin.CreateToken(ctx, render.BridgeUserID, started)
}

// A signInError says that the administrator's password on disk does not sign in.
type signInError struct{ cause error }

func (e *signInError) Error() string { return e.cause.Error() }
func (e *signInError) Unwrap() error { return e.cause }

// A ClosedError says that nothing on disk opens the bridge's account in Rocket.Chat.
type ClosedError struct {
	Admin string // the first administrator
	File  string // with the password
	Cause error
}

func (e *ClosedError) Error() string {
	return "neither the token on disk nor the administrator's password opens the bridge's account: " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *ClosedError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *ClosedError) Hint() string {
	_, refused := errors.AsType[*signInError](e.Cause)
	switch {
	case refused && strings.Contains(e.Cause.Error(), "totp"):
		return "switch the second factor of " + e.Admin + " off in Rocket.Chat, run this again, and switch it on again"
	case refused && rocketchat.Status(e.Cause) == http.StatusUnauthorized:
		return "write the password with which " + e.Admin + " signs in now into " + e.File + ", and run this again"
	}
	return "see: appliance logs rocketchat; then run this again"
}

// patience is how long a server that was just restarted may take to give a clear answer.
const patience = 30 * time.Second

// persist retries do while a server is busy or does not answer yet.
func persist(ctx context.Context, do func() error) error {
	until := time.Now().Add(patience)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		status, down := rocketchat.Status(err), false
		if err != nil {
			_, down = errors.AsType[*stack.NotRunningError](err)
		}
		if err == nil || down || status != 0 && status != 429 && status < 500 || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
