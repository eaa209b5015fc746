package rotate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// Accepted asks the server of a secret whether it accepts a value. asked is false for secrets
// that no server can be asked about. An error means that there was no clear answer. It does not
// retry.
func Accepted(ctx context.Context, s *site.Site, name secrets.Name, value string) (accepted, asked bool, err error) {
	asked = true
	switch name {
	case secrets.PostgresPassword:
		accepted, err = postgresAccepts(ctx, s.Stack, value)
	case secrets.MongoPassword, secrets.MongoRootPassword:
		accepted, err = mongoAccepts(ctx, s.Stack, mongoUser[name], value)
	case secrets.RocketChatToken:
		accepted, err = tokenAccepted(ctx, s, value)
	case secrets.AdminPassword:
		accepted, err = adminAccepted(ctx, s, value)
	case secrets.CreateTokenSecret:
		return createTokenAccepted(ctx, s, value)
	case secrets.ASToken:
		bot := "@" + render.Bridge(render.Input{Answers: s.Answers}).AppService.Bot + ":" + s.Answers.ServerName
		accepted, err = bearerAccepted(ctx, s, "homeserver", 8008, http.MethodGet, "/_matrix/client/v3/account/whoami?user_id="+url.QueryEscape(bot), value)
	case secrets.HSToken:
		accepted, err = bearerAccepted(ctx, s, "bridge", 29328, http.MethodPost, "/_matrix/app/v1/ping", value)
	default:
		asked = false
	}
	return accepted, asked, err
}

// clear tells a clear answer from an error that decides nothing; refused are the statuses that mean no.
func clear(err error, refused ...int) (bool, error) {
	for _, status := range refused {
		if rocketchat.Status(err) == status {
			return false, nil
		}
	}
	return err == nil, err
}

func tokenAccepted(ctx context.Context, s *site.Site, token string) (bool, error) {
	client, err := chat(ctx, s, token)
	if err != nil {
		return false, err
	}
	_, err = client.Me(ctx)
	return clear(err, http.StatusUnauthorized)
}

// adminAccepted signs in. A second factor is asked for only with the right password.
func adminAccepted(ctx context.Context, s *site.Site, password string) (bool, error) {
	client, err := chat(ctx, s, "")
	if err != nil {
		return false, err
	}
	admin, err := client.Login(ctx, s.Answers.AdminUsername, secret.New(password))
	if err == nil {
		return true, admin.Logout(ctx)
	}
	if strings.Contains(err.Error(), "totp") {
		return true, nil
	}
	return clear(err, http.StatusUnauthorized)
}

// createTokenAccepted makes Rocket.Chat create a token for the bridge's own account and revokes
// it. Before Rocket.Chat 8 the secret opens nothing, so there is nothing to ask.
func createTokenAccepted(ctx context.Context, s *site.Site, value string) (accepted, asked bool, err error) {
	set, _, err := secrets.Prepare(s.Dir)
	if err != nil {
		return false, false, err
	}
	client, err := chat(ctx, s, set[secrets.RocketChatToken].Reveal())
	if err != nil {
		return false, false, err
	}
	info, err := client.Info(ctx)
	if err != nil {
		return false, false, err
	}
	major, _, _ := strings.Cut(info.Version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 8 {
		return false, false, nil
	}
	token, err := client.CreateToken(ctx, client.UserID(), secret.New(value))
	if err == nil {
		_ = client.As(client.UserID(), token).Logout(ctx)
	}
	accepted, err = clear(err, http.StatusBadRequest, http.StatusForbidden)
	return accepted, true, err
}

// bearerAccepted sends a request with a bearer token to a service inside the stack.
func bearerAccepted(ctx context.Context, s *site.Site, service string, port int, method, path, token string) (bool, error) {
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return false, err
	}
	if services[service].State != "running" || services[service].Address == "" {
		return false, &stack.NotRunningError{Service: service}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://%s:%d%s", services[service].Address, port, path), strings.NewReader("{}"))
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	switch res.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return false, nil
	}
	return false, fmt.Errorf("the %s answered %s", service, res.Status)
}

// mongoUser is the user that signs in to MongoDB with a secret.
var mongoUser = map[secrets.Name]string{secrets.MongoRootPassword: "root", secrets.MongoPassword: "rocketchat"}

// passwords are the new and the old password of a MongoDB user.
type passwords struct {
	Now string `json:"now"`
	Was string `json:"was,omitempty"`
}

// A given is the input of the script for MongoDB.
type given struct {
	Change bool                 `json:"change"`
	Root   passwords            `json:"root"`
	Users  map[string]passwords `json:"users"`
}

func (g given) script() string {
	data, _ := json.Marshal(g) // strings only: cannot fail
	return "const given = " + string(data) + ";\n"
}
