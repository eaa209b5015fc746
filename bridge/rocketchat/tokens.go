package rocketchat

import (
	"context"

	"appliance/bridge/secret"
)

// An AccessToken is a personal access token as the server lists it.
type AccessToken struct {
	Name string `json:"name"`
	// End is the last six characters of the token.
	End string `json:"lastTokenPart"`
}

// AccessTokens calls GET users.getPersonalAccessTokens: the tokens of the client's own user.
func (c *Client) AccessTokens(ctx context.Context) ([]AccessToken, error) {
	var out struct {
		Tokens []AccessToken `json:"tokens"`
	}
	err := c.get(ctx, "users.getPersonalAccessTokens", nil, &out)
	return out.Tokens, err
}

// NewAccessToken creates a personal access token for the client's own user, which needs no second
// factor, with POST users.generatePersonalAccessToken. An existing token of that name is replaced
// with POST users.regeneratePersonalAccessToken, because the server shows a value only once.
func (c *Client) NewAccessToken(ctx context.Context, name string) (secret.String, error) {
	var out struct {
		Token string `json:"token"`
	}
	err := c.post(ctx, "users.generatePersonalAccessToken", map[string]any{"tokenName": name, "bypassTwoFactor": true}, &out)
	if Says(err, "error-token-already-exists") {
		err = c.post(ctx, "users.regeneratePersonalAccessToken", map[string]any{"tokenName": name}, &out)
	}
	return secret.New(out.Token), err
}

// RemoveAccessToken calls POST users.removePersonalAccessToken. Removing a token
// that does not exist is not an error.
func (c *Client) RemoveAccessToken(ctx context.Context, name string) error {
	err := c.post(ctx, "users.removePersonalAccessToken", map[string]any{"tokenName": name}, nil)
	if Says(err, "error-token-does-not-exists") {
		return nil
	}
	return err
}
