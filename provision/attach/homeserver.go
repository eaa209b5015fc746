package attach

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"appliance/bridge/secret"
)

// A Homeserver is an external homeserver.
type Homeserver struct {
	URL       string        // client API
	Name      string        // what its Matrix addresses end in
	ID, Bot   string        // of the registration
	Token     secret.String // of the registration: as_token
	BridgeURL string        // where it should reach the bridge

	client *http.Client
}

// Reach checks that a homeserver answers at the address and, as far as it reveals its
// name, that it is the intended one.
func (h *Homeserver) Reach(ctx context.Context) error {
	var versions struct {
		Versions []string `json:"versions"`
	}
	status, err := ask(ctx, h.client, http.MethodGet, h.URL+"/_matrix/client/versions", nil, &versions)
	if err != nil || status != http.StatusOK || len(versions.Versions) == 0 {
		return &Error{"no homeserver answers at " + h.URL, why(status, err), "give the address of its client API with: --set homeserver_url=..."}
	}
	var keys struct {
		Name string `json:"server_name"`
	}
	// The address serves this only if federation comes in there too.
	status, err = ask(ctx, h.client, http.MethodGet, h.URL+"/_matrix/key/v2/server", nil, &keys)
	if err == nil && status == http.StatusOK && keys.Name != "" && keys.Name != h.Name {
		return &Error{"the homeserver at " + h.URL + " is that of " + keys.Name, "server_name is " + h.Name, "give its name with: --set server_name=" + keys.Name}
	}
	return nil
}

type matrixError struct {
	Code string `json:"errcode"`
	Text string `json:"error"`
}

// Known checks whether the homeserver has read our registration and, if it can be asked,
// whether it reaches the bridge. Dendrite cannot be asked: then asked is false.
func (h *Homeserver) Known(ctx context.Context) (asked bool, err error) {
	var who struct {
		matrixError
		User string `json:"user_id"`
	}
	bot := "@" + h.Bot + ":" + h.Name
	header := http.Header{"Authorization": {"Bearer " + h.Token.Reveal()}}
	status, err := ask(ctx, h.client, http.MethodGet, h.URL+"/_matrix/client/v3/account/whoami?user_id="+url.QueryEscape(bot), header, &who)
	switch {
	case err != nil || status >= 500:
		return false, &Error{"no homeserver answers at " + h.URL, why(status, err), "check that server, or set its new address with: appliance config set homeserver_url=..."}
	case status != http.StatusOK:
		return false, &Error{"the homeserver does not know the registration", who.Code + " " + who.Text, "see what to add to it with: appliance attach; then restart it"}
	case who.User != bot:
		return false, &Error{"the homeserver knows us as " + who.User, "the registration is for " + bot, "copy the registration again; see: appliance attach"}
	}
	var pong struct {
		matrixError
		Body   string `json:"body"`
		Status int    `json:"status"`
	}
	status, err = ask(ctx, h.client, http.MethodPost, h.URL+"/_matrix/client/v1/appservice/"+url.PathEscape(h.ID)+"/ping", header, &pong)
	switch {
	case err == nil && status == http.StatusOK:
		return true, nil
	case err != nil || slices.Contains([]string{"", "M_UNRECOGNIZED", "M_NOT_FOUND"}, pong.Code):
		return false, nil // Client-Server API, v1.7; Dendrite has none
	case pong.Code == "M_BAD_STATUS":
		return true, &Error{"the homeserver reaches something other than the bridge at " + h.BridgeURL, strings.TrimSpace(pong.Text + " " + pong.Body), "copy the registration again, see: appliance attach; or set the bridge's address with: appliance config set bridge_url=..."}
	}
	return true, &Error{"the homeserver does not reach the bridge at " + h.BridgeURL, pong.Code + " " + pong.Text, "allow connections from there, and make it trust the certificate; or set the bridge's address with: appliance config set bridge_url=..."}
}
