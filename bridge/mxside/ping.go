package mxside

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"maunium.net/go/mautrix"

	"appliance/bridge/relay/model"
)

// pingEvery is how often the bridge checks whether a homeserver that pushes
// everything is up and can reach the bridge.
const pingEvery = 15 * time.Second

// pings checks whether the homeserver is up.
type pings struct {
	*client
	id      string // of the application service
	contact *contact
}

// ask makes the homeserver ping the bridge, which proves both directions. A homeserver without
// that endpoint (before Client-Server API v1.7) is asked who the bridge is: GET /account/whoami.
func (p *pings) ask(ctx context.Context) error {
	_, err := p.once(ctx)
	if !errors.Is(err, model.ErrNotFound) && !errors.Is(err, mautrix.MUnrecognized) {
		return err
	}
	return p.whoami(ctx, p.bot())
}

// once is POST /appservice/{id}/ping. Synapse then immediately sends what it held back
// while the bridge did not respond; otherwise that may take minutes. If it is already
// doing so, Synapse (1.157) returns an error after the ping has come through: then busy
// is true.
func (p *pings) once(ctx context.Context) (busy bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := p.as(p.bot())
	_, err = c.MakeRequest(ctx, http.MethodPost, c.BuildURL(mautrix.ClientURLPath{"v1", "appservice", p.id, "ping"}), map[string]string{}, nil)
	if err != nil && p.traits.FailsPingWhileBusy && (strings.Contains(err.Error(), "AlreadyCancelled") || strings.Contains(err.Error(), "AlreadyCalled")) {
		return true, nil
	}
	return false, side(err)
}
