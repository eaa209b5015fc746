package rcside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

// renewEvery is the least time between two new tokens of a puppet: a server that
// refuses a new one too would be asked for ever.
const renewEvery = time.Minute

// errRefusedAgain: a token that was made just now was refused.
var errRefusedAgain = errors.New("a new token was refused too")

// asPuppet runs f with the puppet's token. Tokens end: with time, with a
// deactivation, or because too many were issued. Then it gets a new one. An account
// that was deleted or deactivated gets none: that is model.ErrNoAccount.
func (s *Side) asPuppet(ctx context.Context, p model.Puppet, f func(*rocketchat.Client) error) error {
	err := f(s.Client.As(string(p.RCUser), p.Token))
	if rocketchat.Status(err) != http.StatusUnauthorized {
		return side(err)
	}
	p, renewErr := s.renew(ctx, p, p.Token)
	if renewErr != nil {
		return renewErr
	}
	if err = f(s.Client.As(string(p.RCUser), p.Token)); rocketchat.Status(err) == http.StatusUnauthorized {
		return s.withoutAccount(ctx, p, err)
	}
	return side(err)
}

// withoutAccount returns err as model.ErrNoAccount when the account of a puppet was
// deleted or deactivated.
func (s *Side) withoutAccount(ctx context.Context, p model.Puppet, err error) error {
	is, ok, lookErr := s.Client.UserByID(ctx, string(p.RCUser))
	if lookErr == nil && (!ok || !is.Active) {
		return fmt.Errorf("%w: %w", model.ErrNoAccount, err)
	}
	return side(err)
}

// asReader runs f as who reads a portal's room: a puppet, or the bridge account.
func (s *Side) asReader(ctx context.Context, reader ids.MXUser, f func(*rocketchat.Client) error) error {
	if reader == "" {
		return side(f(s.Client))
	}
	p, ok, err := s.Store.PuppetByMX(ctx, reader)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: the account of %s", model.ErrNotFound, reader)
	}
	return s.asPuppet(ctx, p, f)
}

// clientFor returns a client for a reader: a puppet, or the bridge account.
func (s *Side) clientFor(ctx context.Context, reader ids.MXUser) (*rocketchat.Client, error) {
	if reader == "" {
		return s.Client, nil
	}
	p, ok, err := s.Store.PuppetByMX(ctx, reader)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: the account of %s", model.ErrNotFound, reader)
	}
	return s.Client.As(string(p.RCUser), p.Token), nil
}

// renew gives a puppet a new token in place of one that was refused, unless that
// has happened meanwhile, and returns the puppet with it.
func (s *Side) renew(ctx context.Context, p model.Puppet, refused secret.String) (model.Puppet, error) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	now, ok, err := s.Store.PuppetByMX(ctx, p.MXUser)
	if err != nil {
		return p, err
	}
	if ok && now.Token.Reveal() != refused.Reveal() {
		return now, nil
	}
	if time.Since(s.renewed[p.MXUser]) < renewEvery {
		return p, s.withoutAccount(ctx, p, fmt.Errorf("%s: %w", p.MXUser, errRefusedAgain))
	}
	token, err := s.Client.CreateToken(ctx, string(p.RCUser), s.CreateTokenSecret)
	if err != nil {
		return p, s.withoutAccount(ctx, p, err)
	}
	s.renewed[p.MXUser] = time.Now()
	p.Token = token
	s.Log.Info("a puppet has a new token", "user", p.MXUser)
	return p, s.Store.PutPuppet(ctx, p)
}
