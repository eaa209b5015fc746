package mxside

import (
	"context"
	"errors"
	"net/http"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// people creates ghosts, and reads and changes profiles.
type people struct{ *client }

// Register implements relay.Matrix: POST /register with the login type of
// application services, then the display name.
func (p *people) Register(ctx context.Context, ghost ids.MXUser, name string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := p.as(ghost)
	_, err := c.MakeFullRequest(ctx, mautrix.FullRequest{
		Method: http.MethodPost,
		// Not as the ghost, which does not exist yet.
		URL: p.as("").BuildClientURL("v3", "register"),
		RequestJSON: map[string]any{
			"type": "m.login.application_service", "username": ghost.Localpart(), "inhibit_login": true,
		},
	})
	if err != nil && !errors.Is(err, mautrix.MUserInUse) {
		return side(err)
	}
	if p.traits.KeepsNotifications {
		p.mute(ctx, ghost)
	}
	if name == "" {
		return nil
	}
	return side(c.SetDisplayName(ctx, name))
}

// mute switches off the notifications of one of our users, since nobody reads them:
// PUT /pushrules/global/override/.m.rule.master/enabled; see
// Traits.KeepsNotifications. Synapse keeps none for users of application services.
func (p *people) mute(ctx context.Context, user ids.MXUser) {
	c := p.as(user)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "pushrules", "global", "override", ".m.rule.master", "enabled"), map[string]bool{"enabled": true}, nil)
	if err != nil {
		p.log.Warn("notifications of a user could not be switched off; the homeserver has more work", "mx_user", user, "err", err)
	}
}

// Profile implements relay.Matrix: GET /profile/{user}.
func (p *people) Profile(ctx context.Context, user ids.MXUser) (model.MXProfile, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := p.as(p.bot())
	var out struct {
		Name   string `json:"displayname"`
		Avatar string `json:"avatar_url"`
	}
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "profile", user), nil, &out)
	return model.MXProfile{Name: out.Name, Avatar: out.Avatar}, side(err)
}

// SetAvatar implements relay.Matrix: PUT /profile/{user}/avatar_url.
func (p *people) SetAvatar(ctx context.Context, ghost ids.MXUser, mxc string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := p.as(ghost)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "profile", ghost, "avatar_url"), map[string]string{"avatar_url": mxc}, nil)
	return side(err)
}
