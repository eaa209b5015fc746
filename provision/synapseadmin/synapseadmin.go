// Package synapseadmin signs an administrator in to the web page for administering Synapse.
package synapseadmin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/external"
	"appliance/provision/homeserver"
	"appliance/provision/secrets"
	"appliance/provision/site"
)

// A SignIn is the account that administers Synapse, and the address of the page.
type SignIn struct {
	URL    string        `json:"url"` // on this host only
	UserID string        `json:"user_id"`
	Token  secret.String `json:"-"` // to sign in with; earlier ones are revoked
}

// A NoPageError says that there is no page for administering the homeserver.
type NoPageError struct{ Homeserver string }

func (e *NoPageError) Error() string {
	if !hasPage(e.Homeserver) {
		return "the admin page is for Synapse, and the homeserver is " + e.Homeserver
	}
	return "the admin page is not installed"
}

// Hint says what to do.
func (e *NoPageError) Hint() string {
	if !hasPage(e.Homeserver) {
		return "there is none for " + e.Homeserver
	}
	return "add it with: appliance config set synapse_admin=true"
}

// hasPage reports whether the page can administer a homeserver.
func hasPage(name string) bool {
	stack := homeserver.Of(name).Stack
	return stack != nil && stack.AdminPage
}

// Run makes sure that an account exists that administers Synapse, and signs it in. The
// account belongs to the bridge's part of the namespace and has no password.
func Run(ctx context.Context, s *site.Site) (SignIn, error) {
	a := s.Answers
	out := SignIn{URL: fmt.Sprintf("http://127.0.0.1:%d", a.SynapseAdminPort), UserID: "@" + adminLocalpart(a) + ":" + a.ServerName}
	if !hasPage(a.Homeserver) || !a.SynapseAdmin {
		return out, &NoPageError{a.Homeserver}
	}
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return out, err
	}
	if services["homeserver"].Address == "" {
		return out, errors.New("the homeserver is not running")
	}
	set, _, err := secrets.Prepare(s.Dir)
	if err != nil {
		return out, err
	}
	out.Token, err = signInAdmin(ctx, fmt.Sprintf("http://%s:8008", services["homeserver"].Address), out.UserID, set[secrets.ASToken], func(ctx context.Context) error {
		statement := "UPDATE users SET admin = 1 WHERE name = '" + out.UserID + "'" // server names have no quotes
		_, err := external.InHomeserver(ctx, s.Stack, a, statement)
		return err
	})
	return out, err
}

func adminLocalpart(a answers.Answers) string {
	return a.LocalpartPrefix() + "appliance-admin"
}

// signInAdmin registers an account as an application service may (Matrix
// application service API, "Server admin style permissions"), calls promote, which makes it
// an administrator, and signs it in.
func signInAdmin(ctx context.Context, base, userID string, token secret.String, promote func(context.Context) error) (secret.String, error) {
	localpart, _, _ := strings.Cut(strings.TrimPrefix(userID, "@"), ":")
	const kind = "m.login.application_service"
	err := matrix(ctx, token, base+"/_matrix/client/v3/register", map[string]any{"type": kind, "username": localpart, "inhibit_login": true}, nil)
	if err != nil && !strings.Contains(err.Error(), "M_USER_IN_USE") {
		return secret.String{}, fmt.Errorf("create the account %s: %w", userID, err)
	}
	if err := promote(ctx); err != nil {
		return secret.String{}, fmt.Errorf("make %s an administrator: %w", userID, err)
	}
	logIn := func() (secret.String, error) {
		var login struct {
			AccessToken string `json:"access_token"`
		}
		err := matrix(ctx, token, base+"/_matrix/client/v3/login", map[string]any{
			"type": kind, "identifier": map[string]string{"type": "m.id.user", "user": userID}, "initial_device_display_name": "appliance",
		}, &login)
		if err != nil {
			err = fmt.Errorf("sign in %s: %w", userID, err)
		}
		return secret.New(login.AccessToken), err
	}
	first, err := logIn()
	if err != nil {
		return first, err
	}
	if err := matrix(ctx, first, base+"/_matrix/client/v3/logout/all", map[string]any{}, nil); err != nil {
		return first, fmt.Errorf("revoke earlier tokens of %s: %w", userID, err)
	}
	return logIn()
}

func matrix(ctx context.Context, token secret.String, url string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{}).Do(req) // ends with ctx
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, answer[:min(len(answer), 300)])
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
