package attach

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"appliance/bridge/secret"
)

// A RocketChat is an external Rocket.Chat.
type RocketChat struct {
	URL    string // as people open it
	UserID string // of the bridge's account
	Token  secret.String

	client *http.Client
}

func (r *RocketChat) get(ctx context.Context, path string, out any) (int, error) {
	header := http.Header{"X-User-Id": {r.UserID}, "X-Auth-Token": {r.Token.Reveal()}}
	return ask(ctx, r.client, http.MethodGet, r.URL+path, header, out)
}

// Reach checks that Rocket.Chat answers at the address and that the bridge's account is
// an administrator there.
func (r *RocketChat) Reach(ctx context.Context) (version string, err error) {
	var info struct {
		Version string `json:"version"`
	}
	if status, err := r.get(ctx, "/api/info", &info); err != nil || status != http.StatusOK || info.Version == "" {
		return "", &Error{"no Rocket.Chat answers at " + r.URL, why(status, err), "give its address as people open it with: --set rocketchat_url=..."}
	}
	var me struct {
		Username string   `json:"username"`
		Roles    []string `json:"roles"`
	}
	switch status, err := r.get(ctx, "/api/v1/me", &me); {
	case err == nil && status == http.StatusUnauthorized:
		return "", &Error{"Rocket.Chat does not accept the token of " + r.UserID, why(status, nil), "create a new personal access token as that user and put it into the file that rocketchat_token_file names"}
	case err != nil || status != http.StatusOK:
		return "", &Error{"Rocket.Chat at " + r.URL + " does not say who the bridge is", why(status, err), "check that server and try again"}
	}
	for _, role := range []string{"admin", "bot"} { // bots are not rate-limited
		if !slices.Contains(me.Roles, role) {
			return "", &Error{me.Username + " lacks the role " + role + " in Rocket.Chat", "its roles are " + strings.Join(me.Roles, ", "), "give it that role: Administration, Permissions, " + role}
		}
	}
	return info.Version, nil
}

// Settings returns the wanted settings that have a different value, as ID=value pairs
// with the value that they should have.
func (r *RocketChat) Settings(ctx context.Context, want [][2]string) (differ []string, err error) {
	for _, s := range want {
		var got struct {
			Value json.RawMessage `json:"value"`
		}
		status, err := r.get(ctx, "/api/v1/settings/"+s[0], &got)
		if err != nil || status == http.StatusUnauthorized || status == http.StatusForbidden {
			return nil, &Error{"Rocket.Chat does not show its settings", why(status, err), "check that server and try again"}
		}
		if status != http.StatusOK {
			continue // this version does not have it
		}
		if have := strings.Trim(string(got.Value), `"`); have != s[1] {
			differ = append(differ, fmt.Sprintf("%s=%s", s[0], s[1]))
		}
	}
	return differ, nil
}
