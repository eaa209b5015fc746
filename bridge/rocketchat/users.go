package rocketchat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"appliance/bridge/secret"
)

// Info is the server's description of itself.
type Info struct {
	Version string `json:"version"` // "8.6" to strangers, "8.6.1" to administrators
}

// Info calls GET /api/info, which is not below /api/v1. It needs no login.
func (c *Client) Info(ctx context.Context) (Info, error) {
	const path = "/api/info"
	var out Info
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return out, fmt.Errorf("rocketchat: GET %s: %w", path, err)
	}
	err = c.do(c.http, req, path, &out)
	return out, err
}

// Login exchanges a password for a client that acts as the user. It calls
// POST /api/v1/login with the digest of the password.
func (c *Client) Login(ctx context.Context, username string, password secret.String) (*Client, error) {
	return c.LoginWithCode(ctx, username, password, "")
}

// LoginWithCode is Login with a second-factor code. A code that is needed but missing
// is refused with "totp-required", a wrong one with "totp-invalid".
func (c *Client) LoginWithCode(ctx context.Context, username string, password secret.String, code string) (*Client, error) {
	sum := sha256.Sum256([]byte(password.Reveal()))
	body := map[string]any{
		"user":     map[string]string{"username": username},
		"password": map[string]string{"digest": hex.EncodeToString(sum[:]), "algorithm": "sha-256"},
	}
	if code != "" {
		body["code"] = code
	}
	var out struct {
		Data struct {
			UserID    string `json:"userId"`
			AuthToken string `json:"authToken"`
		} `json:"data"`
	}
	if err := c.post(ctx, "login", body, &out); err != nil {
		return nil, err
	}
	return c.As(out.Data.UserID, secret.New(out.Data.AuthToken)), nil
}

// Logout calls POST /api/v1/logout, which ends the client's token.
func (c *Client) Logout(ctx context.Context) error { return c.post(ctx, "logout", nil, nil) }

// Me calls GET /api/v1/me.
func (c *Client) Me(ctx context.Context) (User, error) {
	var out User
	err := c.get(ctx, "me", nil, &out)
	return out, err
}

// UserByName calls GET users.info. ok is false when there is no such user.
func (c *Client) UserByName(ctx context.Context, username string) (u User, ok bool, err error) {
	return c.userInfo(ctx, url.Values{"username": {username}})
}

// UserByID calls GET users.info. ok is false when there is no such user.
func (c *Client) UserByID(ctx context.Context, id string) (u User, ok bool, err error) {
	return c.userInfo(ctx, url.Values{"userId": {id}})
}

// Users calls GET users.list and passes all users to each, a page at a time.
func (c *Client) Users(ctx context.Context, each func([]User) error) error {
	for offset := 0; ; {
		var out struct {
			Users []User `json:"users"`
			Total int    `json:"total"`
		}
		q := url.Values{"count": {strconv.Itoa(page)}, "offset": {strconv.Itoa(offset)}, "sort": {`{"_id":1}`}}
		if err := c.get(ctx, "users.list", q, &out); err != nil {
			return err
		}
		if err := each(out.Users); err != nil {
			return err
		}
		if offset += len(out.Users); len(out.Users) == 0 || offset >= out.Total {
			return nil
		}
	}
}

func (c *Client) userInfo(ctx context.Context, q url.Values) (User, bool, error) {
	var out struct {
		User User `json:"user"`
	}
	err := c.get(ctx, "users.info", q, &out)
	if Says(err, "User not found.", "error-invalid-user", "The required \"userId\" or \"username\" param does not match any users [error-invalid-user]") {
		return User{}, false, nil
	}
	return out.User, err == nil && out.User.ID != "", err
}

// NewUser is the body of users.create. Puppets have the roles user and bot.
type NewUser struct {
	Username            string   `json:"username"`
	Name                string   `json:"name"`
	Email               string   `json:"email"`
	Password            string   `json:"password"`
	Roles               []string `json:"roles,omitempty"`
	Verified            bool     `json:"verified"`
	JoinDefaultChannels bool     `json:"joinDefaultChannels"`
	SendWelcomeEmail    bool     `json:"sendWelcomeEmail"`
	Nickname            string   `json:"nickname,omitempty"`
	Bio                 string   `json:"bio,omitempty"`
}

// CreateUser calls POST users.create, which requires the permission create-user.
func (c *Client) CreateUser(ctx context.Context, u NewUser) (User, error) {
	var out struct {
		User User `json:"user"`
	}
	err := c.post(ctx, "users.create", u, &out)
	return out.User, err
}

// CreateToken calls POST users.createToken in the form of Rocket.Chat 8: the secret
// is CREATE_TOKENS_FOR_USERS_SECRET from the server's environment.
func (c *Client) CreateToken(ctx context.Context, userID string, createSecret secret.String) (secret.String, error) {
	var out struct {
		Data struct {
			AuthToken string `json:"authToken"`
		} `json:"data"`
	}
	err := c.post(ctx, "users.createToken", map[string]string{"userId": userID, "secret": createSecret.Reveal()}, &out)
	return secret.New(out.Data.AuthToken), err
}

// SetPassword sets another user's password with POST users.update, as an administrator.
func (c *Client) SetPassword(ctx context.Context, userID string, password secret.String) error {
	data := map[string]any{"password": password.Reveal(), "requirePasswordChange": false}
	return c.post(ctx, "users.update", map[string]any{"userId": userID, "data": data}, nil)
}

// SetOwnName calls POST users.updateOwnBasicInfo as the user itself.
func (c *Client) SetOwnName(ctx context.Context, name string) error {
	return c.post(ctx, "users.updateOwnBasicInfo", map[string]any{"data": map[string]string{"name": name}}, nil)
}

// SetAvatar calls POST users.setAvatar as the user itself, with a picture.
func (c *Client) SetAvatar(ctx context.Context, picture Media) error {
	return c.multipart(ctx, "users.setAvatar", "image", picture, nil)
}

// Permissions calls GET permissions.listAll and returns the roles that have each
// permission.
func (c *Client) Permissions(ctx context.Context) (map[string][]string, error) {
	var out struct {
		Update []struct {
			ID    string   `json:"_id"`
			Roles []string `json:"roles"`
		} `json:"update"`
	}
	if err := c.get(ctx, "permissions.listAll", nil, &out); err != nil {
		return nil, err
	}
	perms := make(map[string][]string, len(out.Update))
	for _, p := range out.Update {
		perms[p.ID] = p.Roles
	}
	return perms, nil
}

// PublicSettings calls GET settings.public, which needs no login. Settings that
// the server does not know, or does not show, are absent.
func (c *Client) PublicSettings(ctx context.Context, ids ...string) (Settings, error) {
	found := Settings{}
	for ids := range slices.Chunk(ids, page) {
		var out struct {
			Settings []struct {
				ID    string          `json:"_id"`
				Value json.RawMessage `json:"value"`
			} `json:"settings"`
		}
		q := url.Values{"_id": {strings.Join(ids, ",")}, "count": {strconv.Itoa(page)}}
		if err := c.get(ctx, "settings.public", q, &out); err != nil {
			return nil, err
		}
		for _, s := range out.Settings {
			found[s.ID] = s.Value
		}
	}
	return found, nil
}

// Settings maps the IDs of settings to their values, as JSON.
type Settings map[string]json.RawMessage

// Int returns a numeric setting, or otherwise when there is none.
func (s Settings) Int(id string, otherwise int64) int64 { return setting(s[id], otherwise) }

// On returns a boolean setting, or otherwise when there is none.
func (s Settings) On(id string, otherwise bool) bool { return setting(s[id], otherwise) }

// Text returns a string setting, or otherwise when there is none.
func (s Settings) Text(id, otherwise string) string { return setting(s[id], otherwise) }

func setting[T any](value json.RawMessage, otherwise T) T {
	v := &otherwise
	if json.Unmarshal(value, &v) != nil || v == nil {
		return otherwise
	}
	return *v
}
