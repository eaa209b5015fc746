package mxside

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// registered ensures that the user on whose behalf a request is made is registered. Dendrite
// 0.15 answers "appservice has not registered this user" (403 M_FORBIDDEN) also while its
// database does not respond, and every request would then look forbidden. So that response
// does not count, and the request is retried. The user is registered again, in case the
// homeserver was restored from a backup without that user: then the next attempt succeeds.
type registered struct{ next http.RoundTripper }

// notRegistered is part of the response of Dendrite and Synapse for a user who does not exist.
const notRegistered = "has not registered this user"

// maxRefusal is how much of a refusal is examined.
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

// register creates a user: POST /register, as in people.Register. Whatever the response is,
// the next attempt shows whether the user exists.
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

// rest is a response body whose beginning was already read.
type rest struct {
	io.Reader
	io.Closer
}
