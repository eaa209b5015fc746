package rctest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// rest calls a server as a client does. It is not the product's client, because
// tests use it to check what that client did.
type rest struct{ url string }

var restClient = &http.Client{Timeout: time.Minute}

// A refusal is a response other than 200.
type refusal struct {
	call   string
	status int
	answer string
}

func (e *refusal) Error() string { return fmt.Sprintf("%s: %d %s", e.call, e.status, e.answer) }

// call calls an endpoint such as "users.info?username=alice" as a user, or anonymously
// if by is empty, and retries when the server limits calls. A nil body sends none.
func (r rest) call(ctx context.Context, by Person, method, endpoint string, body, out any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	return r.retry(ctx, func() (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, method, r.url+"/api/v1/"+endpoint, bytes.NewReader(data))
		if err == nil && body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, err
	}, by, out)
}

// upload sends a file as a form.
func (r rest) upload(ctx context.Context, by Person, endpoint, name, contentType string, content []byte, out any) error {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {multipart.FileContentDisposition("file", name)}, "Content-Type": {contentType}})
	if err != nil {
		return err
	}
	if _, err := part.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return r.retry(ctx, func() (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/api/v1/"+endpoint, bytes.NewReader(form.Bytes()))
		if err == nil {
			req.Header.Set("Content-Type", w.FormDataContentType())
		}
		return req, err
	}, by, out)
}

func (r rest) retry(ctx context.Context, build func() (*http.Request, error), by Person, out any) error {
	for {
		req, err := build()
		if err != nil {
			return err
		}
		Sign(req, by)
		status, header, answer, err := exchange(req)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK && out == nil:
			return nil
		case status == http.StatusOK:
			return json.Unmarshal(answer, out)
		case status != http.StatusTooManyRequests:
			return &refusal{fmt.Sprintf("%s %s as %q", req.Method, req.URL, by.Username), status, string(answer)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(until(header)):
		}
	}
}

// Sign adds a person's credentials to a request. A known password is used as the
// second factor, which servers require when settings and people are changed.
func Sign(req *http.Request, by Person) {
	if by.Token != "" {
		req.Header.Set("X-User-Id", by.ID)
		req.Header.Set("X-Auth-Token", by.Token)
	}
	if by.Password != "" {
		sum := sha256.Sum256([]byte(by.Password))
		req.Header.Set("X-2fa-Method", "password")
		req.Header.Set("X-2fa-Code", hex.EncodeToString(sum[:]))
	}
}

func exchange(req *http.Request) (status int, header http.Header, answer []byte, err error) {
	res, err := restClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, res.Header, answer, err
}

// until returns how long a limiter wants its clients to wait, at most a minute: it
// announces when it resets, in milliseconds.
func until(header http.Header) time.Duration {
	ms, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return 5 * time.Second
	}
	return min(max(time.Until(time.UnixMilli(ms)), 100*time.Millisecond), time.Minute)
}

// login signs in with a password, which servers allow only a few times per minute.
func (r rest) login(ctx context.Context, username, password string) (Person, error) {
	var out struct {
		Data struct {
			UserID    string `json:"userId"`
			AuthToken string `json:"authToken"`
		} `json:"data"`
	}
	err := r.call(ctx, Person{}, http.MethodPost, "login", map[string]any{"username": username, "password": password}, &out)
	return Person{ID: out.Data.UserID, Username: username, Password: password, Token: out.Data.AuthToken}, err
}

// createUser creates an account whose password is its username.
func (r rest) createUser(ctx context.Context, admin Person, username, name string, defaults bool, roles ...string) (Person, error) {
	if len(roles) == 0 {
		roles = []string{"user"}
	}
	var made struct {
		User struct {
			ID string `json:"_id"`
		} `json:"user"`
	}
	err := r.call(ctx, admin, http.MethodPost, "users.create", map[string]any{"username": username, "name": name, "password": username,
		"email": username + testDomain, "roles": roles, "verified": false, "joinDefaultChannels": defaults, "sendWelcomeEmail": false}, &made)
	return Person{ID: made.User.ID, Username: username, Password: username}, err
}

// testDomain is the suffix of the addresses of accounts that tests create.
const testDomain = "@example.invalid"

// signIn prefers a token created by the administrator, which is not rate-limited.
func (r rest) signIn(ctx context.Context, admin, p Person, secret string) (Person, error) {
	if secret == "" {
		return r.login(ctx, p.Username, p.Password)
	}
	var out struct {
		Data struct {
			AuthToken string `json:"authToken"`
		} `json:"data"`
	}
	err := r.call(ctx, admin, http.MethodPost, "users.createToken", map[string]any{"userId": p.ID, "secret": secret}, &out)
	p.Token = out.Data.AuthToken
	return p, err
}
