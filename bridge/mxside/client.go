package mxside

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/secret"
)

// client speaks to the homeserver as any of our users. All requests go through it.
type client struct {
	base   *url.URL // of the client-server API
	http   *http.Client
	token  secret.String // with which the bridge authenticates to the homeserver
	names  ids.Namespace
	traits Traits
	log    *slog.Logger
}

// underLease sends the requests of a delivery only while this process holds the lease of
// its lane.
type underLease struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (u underLease) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := queue.Held(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	return u.next.RoundTrip(r)
}

// as returns a client for one of our users. It retries nothing: that decision
// belongs to the queue.
func (c *client) as(user ids.MXUser) *mautrix.Client {
	return &mautrix.Client{
		HomeserverURL: c.base, UserID: user, AccessToken: c.token.Reveal(), Client: c.http,
		UserAgent: "appliance-bridge", Log: zerolog.Nop(), SetAppServiceUserID: true,
		IgnoreRateLimit: true, ResponseSizeLimit: maxAnswer,
	}
}

// whoami asks the homeserver whether it knows one of our users: GET /account/whoami.
func (c *client) whoami(ctx context.Context, user ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m := c.as(user)
	_, err := m.MakeRequest(ctx, http.MethodGet, m.BuildClientURL("v3", "account", "whoami"), nil, nil)
	return side(err)
}

// bot returns the bridge's own user.
func (c *client) bot() ids.MXUser { return c.names.BotUser() }

const (
	// maxAnswer bounds a response that is held in memory: a page of a hundred events
	// of the largest size, with room to spare. A /sync may be larger.
	maxAnswer = 16 << 20
	maxSync   = 64 << 20
)

// timeout bounds one action: a join or an invitation waits for other servers.
const timeout = 50 * time.Second

const (
	// minPause and maxPause bound the pause before the bridge retries a homeserver
	// that failed.
	minPause = 200 * time.Millisecond
	maxPause = 10 * time.Second
)

// wait waits for d. It returns false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
