package rcside

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

// A puppet gets maxRenewals new tokens in quick succession, and then one per renewEvery:
// a server that refuses new tokens too would otherwise be asked without end.
const (
	maxRenewals = 3
	renewEvery  = time.Minute
)

// errRefusedAgain means that a token created just before was refused.
var errRefusedAgain = errors.New("a new token was refused too")

// accounts talks to Rocket.Chat as the bridge account, or as a puppet whose token
// it keeps valid.
type accounts struct {
	client      *rocketchat.Client // acts as the bridge account
	tokenSecret secret.String
	store       relay.Store
	log         *slog.Logger

	renewing sync.Mutex                   // one token is renewed at a time
	renewals map[ids.RCUser]*rate.Limiter // guarded by renewing
}

// asPuppet runs f with the puppet's token. A token becomes invalid over time, when
// the account is deactivated, or when too many were issued; the puppet then gets a
// new one. A deleted or deactivated account gets none: that is model.ErrNoAccount.
func (s *accounts) asPuppet(ctx context.Context, p model.Puppet, f func(*rocketchat.Client) error) error {
	err := f(s.as(p))
	if rocketchat.Status(err) != http.StatusUnauthorized {
		return side(err)
	}
	p, renewErr := s.renew(ctx, p, p.Token)
	if renewErr != nil {
		return renewErr
	}
	if err = f(s.as(p)); rocketchat.Status(err) == http.StatusUnauthorized {
		return s.withoutAccount(ctx, p, err)
	}
	return side(err)
}

// as returns a client for a puppet, or for a person's own account. Rocket.Chat
// rate-limits such accounts, but not puppets, by the address that the bridge reports:
// each account has its own, so that they do not use up each other's limits.
func (s *accounts) as(p model.Puppet) *rocketchat.Client {
	c := s.client.As(string(p.RCUser), p.Token)
	if p.Own {
		c = c.From(ownAddress(p.RCUser))
	}
	return c
}

// ownAddress derives an address of no real network (RFC 4193) from an account.
func ownAddress(user ids.RCUser) string {
	sum := sha256.Sum256([]byte(user))
	sum[0] = 0xfd
	return netip.AddrFrom16([16]byte(sum[:16])).String()
}

// OpenAccount implements relay.RocketChat.
func (s *accounts) OpenAccount(ctx context.Context, user ids.RCUser) (model.Token, error) {
	token, err := s.client.CreateToken(ctx, string(user), s.tokenSecret)
	return token, side(err)
}

// CloseAccount implements relay.RocketChat.
func (s *accounts) CloseAccount(ctx context.Context, d model.Double) error {
	err := s.as(d.Puppet()).Logout(ctx)
	if rocketchat.Status(err) == http.StatusUnauthorized {
		return nil // it has ended already
	}
	return side(err)
}

// IsIn implements relay.RocketChat.
func (s *accounts) IsIn(ctx context.Context, p model.Puppet, room ids.RCRoom) (in bool, err error) {
	err = s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		_, in, err = c.Subscription(ctx, string(room))
		return err
	})
	return in, err
}

// withoutAccount returns err as model.ErrNoAccount when the account of a puppet was
// deleted or deactivated.
func (s *accounts) withoutAccount(ctx context.Context, p model.Puppet, err error) error {
	is, ok, lookErr := s.client.UserByID(ctx, string(p.RCUser))
	if lookErr == nil && (!ok || !is.Active) {
		return fmt.Errorf("%w: %w", model.ErrNoAccount, err)
	}
	return side(err)
}

// asReader runs f as the account that reads a portal's room: a puppet, or the bridge account.
func (s *accounts) asReader(ctx context.Context, reader ids.MXUser, f func(*rocketchat.Client) error) error {
	if reader == "" {
		return side(f(s.client))
	}
	p, ok, err := s.store.PuppetByMX(ctx, reader)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: the account of %s", model.ErrNotFound, reader)
	}
	return s.asPuppet(ctx, p, f)
}

// clientFor returns a client for a reader: a puppet, or the bridge account.
func (s *accounts) clientFor(ctx context.Context, reader ids.MXUser) (*rocketchat.Client, error) {
	if reader == "" {
		return s.client, nil
	}
	p, ok, err := s.store.PuppetByMX(ctx, reader)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: the account of %s", model.ErrNotFound, reader)
	}
	return s.client.As(string(p.RCUser), p.Token), nil
}

// renew replaces a puppet's refused token with a new one, unless that has already
// happened, and returns the puppet with the new token.
func (s *accounts) renew(ctx context.Context, p model.Puppet, refused secret.String) (model.Puppet, error) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	now, ok, err := s.stored(ctx, p)
	if err != nil {
		return p, err
	}
	if p.Own && !ok {
		return p, fmt.Errorf("%w: its owner no longer lends the account", model.ErrNoAccount)
	}
	if ok && now.Token.Reveal() != refused.Reveal() {
		return now, nil
	}
	if wait := s.nextRenewal(p.RCUser); wait > 0 {
		err := s.withoutAccount(ctx, p, fmt.Errorf("%s: %w", p.MXUser, errRefusedAgain))
		if errors.Is(err, model.ErrNoAccount) {
			return p, err
		}
		return p, &model.WaitError{After: wait, Err: err}
	}
	token, err := s.client.CreateToken(ctx, string(p.RCUser), s.tokenSecret)
	if err != nil {
		return p, s.withoutAccount(ctx, p, err)
	}
	p.Token = token
	s.log.Info("a puppet has a new token", "user", p.MXUser, "own", p.Own)
	if p.Own {
		return p, s.store.RenewDouble(ctx, model.Double{MXUser: p.MXUser, RCUser: p.RCUser, Username: p.Username, Token: p.Token})
	}
	return p, s.store.PutPuppet(ctx, p)
}

// nextRenewal returns how long a puppet must wait for its next token; returning 0
// counts as granting it. The caller holds renewing.
func (s *accounts) nextRenewal(user ids.RCUser) time.Duration {
	l := s.renewals[user]
	if l == nil {
		l = rate.NewLimiter(rate.Every(renewEvery), maxRenewals)
		s.renewals[user] = l
	}
	r := l.Reserve()
	wait := r.Delay()
	if wait > 0 {
		r.Cancel()
	}
	return wait
}

// stored returns a puppet, or a person's own account, as currently stored.
func (s *accounts) stored(ctx context.Context, p model.Puppet) (model.Puppet, bool, error) {
	if !p.Own {
		return s.store.PuppetByMX(ctx, p.MXUser)
	}
	d, ok, err := s.store.DoubleByMX(ctx, p.MXUser)
	return d.Puppet(), ok && d.RCUser == p.RCUser, err
}

// IsBridge implements relay.RocketChat.
func (s *accounts) IsBridge(user ids.RCUser) bool { return string(user) == s.client.UserID() }

// ours reports whether a user is the bridge account or a puppet.
func (s *accounts) ours(ctx context.Context, user string) (bool, error) {
	if s.IsBridge(ids.RCUser(user)) {
		return true, nil
	}
	_, puppet, err := s.store.PuppetByRC(ctx, ids.RCUser(user))
	return puppet, err
}
