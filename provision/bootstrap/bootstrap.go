// Package bootstrap creates what has to exist inside Rocket.Chat before it can be
// used: the administrator and the bridge account. Rocket.Chat creates both from its
// environment at its first start, so this package mostly checks; it creates the
// administrator only if that did not happen. Every function is idempotent.
package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// Accounts are the accounts that have to exist.
type Accounts struct {
	BridgeUserID string
	BridgeToken  secret.String
	AdminName    string
	AdminEmail   string
	AdminPass    secret.String
}

// AccountsOf returns the accounts that the answers name, with their secrets.
func AccountsOf(a answers.Answers, set secrets.Set) Accounts {
	return Accounts{
		BridgeUserID: render.BridgeUserID, BridgeToken: set[secrets.RocketChatToken],
		AdminName: a.AdminUsername, AdminEmail: a.AdminEmail, AdminPass: set[secrets.AdminPassword],
	}
}

// A TokenError says that Rocket.Chat does not know the bridge's token.
type TokenError struct{ Err error }

func (e *TokenError) Error() string {
	return "Rocket.Chat does not accept the bridge account's token: " + e.Err.Error()
}

func (e *TokenError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *TokenError) Hint() string {
	return "make a new one with: appliance secrets rotate rocketchat-token; or, if the database belongs to another installation, copy its secrets/bridge/rocketchat_token"
}

// Missing says what is still missing from the Rocket.Chat at base, or "" if nothing is.
func Missing(ctx context.Context, base string, want Accounts) (string, error) {
	client := rocketchat.New(base, want.BridgeUserID, want.BridgeToken)
	if _, err := client.Me(ctx); err != nil {
		return "", asTokenError(err)
	}
	admin, ok, err := client.UserByName(ctx, want.AdminName)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "there is no user " + want.AdminName, nil
	case !slices.Contains(admin.Roles, "admin"):
		return want.AdminName + " is not an administrator", nil
	}
	return "", nil
}

func asTokenError(err error) error {
	if rocketchat.Status(err) == 401 {
		return &TokenError{err}
	}
	return err
}

// attempts is how often creating the administrator is tried: a server that has just
// started rejects some requests.
const attempts = 5

// Run waits until the Rocket.Chat at base answers and creates what is missing. A response
// may have been lost, so only the next check counts.
func Run(ctx context.Context, base string, want Accounts) error {
	client := rocketchat.New(base, want.BridgeUserID, want.BridgeToken)
	var createErr error
	for range attempts {
		missing, err := patiently(ctx, base, want)
		if err != nil || missing == "" {
			return err
		}
		if createErr != nil && !passing(createErr) {
			return fmt.Errorf("create the administrator: %s: %w", missing, createErr)
		}
		_, createErr = client.CreateUser(ctx, rocketchat.NewUser{
			Username: want.AdminName, Name: "Administrator", Email: want.AdminEmail,
			Password: want.AdminPass.Reveal(), Roles: []string{"admin"}, Verified: true,
		})
	}
	missing, err := patiently(ctx, base, want)
	if err == nil && missing != "" {
		err = fmt.Errorf("create the administrator: %s: %w", missing, createErr)
	}
	return err
}

// passing reports whether an error may be gone on the next try: the server is busy, or
// did not answer at all.
func passing(err error) bool {
	status := rocketchat.Status(err)
	return status == 0 || status == 429 || status >= 500
}

// How long Rocket.Chat may take to create its accounts after its first response, and how
// long it may say that it does not know the bridge.
const (
	patience      = time.Minute
	tokenPatience = 10 * time.Second
)

// patiently is Missing for a Rocket.Chat that has just started: its accounts may appear a
// moment after its first response.
func patiently(ctx context.Context, base string, want Accounts) (string, error) {
	started := time.Now()
	var unknown *TokenError // sticks: an unknown client is soon rate-limited instead
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		missing, err := Missing(ctx, base, want)
		if err == nil {
			return missing, nil
		}
		if e, ok := errors.AsType[*TokenError](err); ok {
			unknown = e
		}
		switch waited := time.Since(started); {
		case unknown != nil && waited > tokenPatience:
			return "", unknown
		case waited > patience:
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-tick.C:
		}
	}
}

// ResetPassword gives the administrator of the Rocket.Chat at base the wanted
// password, once the accounts are there, and makes sure that it signs in.
func ResetPassword(ctx context.Context, base string, want Accounts) error {
	if missing, err := patiently(ctx, base, want); err != nil || missing != "" {
		return errors.Join(err, errors.New(cmp.Or(missing, "set the administrator's password")))
	}
	client := rocketchat.New(base, want.BridgeUserID, want.BridgeToken)
	err := errors.New("the server did not answer")
	for n := 0; n < attempts && passing(err); n++ {
		if n > 0 && !pause(ctx, err) {
			break
		}
		if err = reset(ctx, client, want); err == nil {
			return nil
		}
	}
	return fmt.Errorf("set the password of %s: %w", want.AdminName, err)
}

// reset sets the password once.
func reset(ctx context.Context, client *rocketchat.Client, want Accounts) error {
	admin, _, err := client.UserByName(ctx, want.AdminName)
	if err == nil {
		err = client.SetPassword(ctx, admin.ID, want.AdminPass)
	}
	// The response may have been lost: what counts is whether signing in works. A second factor
	// is requested only with the right password, with status 401 and an error of its own.
	_, signIn := client.Login(ctx, want.AdminName, want.AdminPass)
	if signIn == nil || err == nil && strings.Contains(signIn.Error(), "totp") {
		return nil
	}
	return cmp.Or(err, signIn)
}

// pause waits before a retry, for as long as the server asked, within bounds. It reports
// false when ctx ends.
func pause(ctx context.Context, err error) bool {
	wait := 500 * time.Millisecond
	if e, ok := errors.AsType[*rocketchat.Error](err); ok {
		wait = min(max(wait, e.RetryAfter), tokenPatience)
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// Tell sends the administrator a direct message from the bridge's account.
func Tell(ctx context.Context, base string, from Accounts, text string) error {
	return rocketchat.New(base, from.BridgeUserID, from.BridgeToken).PostMessage(ctx, "@"+from.AdminName, text)
}
