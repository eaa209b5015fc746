package mxside

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// registered is what every user of ours is that a request is made for. Dendrite 0.15 says of
// one "appservice has not registered this user" (403 M_FORBIDDEN) also while its database does
// not answer, and everything that is asked then would look as if it were forbidden. So that
// answer counts as none, and the request is tried again. The user is registered again, in
// case the homeserver came back from a backup that does not have it: then the next attempt
// finds it.
type registered struct{ next http.RoundTripper }

// notRegistered is part of what Dendrite and Synapse say of a user who is not there.
const notRegistered = "has not registered this user"

// maxRefusal is how much of a refusal is looked at.
const maxRefusal = 4 << 10

// RoundTrip implements http.RoundTripper.
func (t registered) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	user := r.URL.Query().Get("user_id")
	if err != nil || resp.StatusCode != http.StatusForbidden || user == "" {
		return resp, err
	}
	start, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body = rest{io.MultiReader(bytes.NewReader(start), resp.Body), resp.Body}
	if err != nil || !bytes.Contains(start, []byte(notRegistered)) {
		return resp, nil //nolint:nilerr // who reads the answer meets the error again
	}
	t.register(r, user)
	resp.StatusCode, resp.Status = http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable)
	return resp, nil
}

// register makes a user: POST /register, as in people.Register. Whatever is the answer, the
// next attempt shows whether the user is there.
func (t registered) register(r *http.Request, user string) {
	name, _, _ := strings.Cut(strings.TrimPrefix(user, "@"), ":")
	body, _ := json.Marshal(map[string]any{"type": "m.login.application_service", "username": name, "inhibit_login": true})
	at := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: "/_matrix/client/v3/register"}
	if base, _, found := strings.Cut(r.URL.Path, "/_matrix/"); found {
		at.Path = base + at.Path
	}
	again, err := http.NewRequestWithContext(r.Context(), http.MethodPost, at.String(), bytes.NewReader(body))
	if err != nil {
		return
	}
	again.Header.Set("Authorization", r.Header.Get("Authorization"))
	again.Header.Set("Content-Type", "application/json")
	if resp, err := t.next.RoundTrip(again); err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxRefusal)
		_ = resp.Body.Close()
	}
}

// rest is the body of an answer of which the start was read.
type rest struct {
	io.Reader
	io.Closer
}
