package alarm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Formats of webhooks.
const (
	JSON   = "json"   // the Message
	Ntfy   = "ntfy"   // ntfy.sh and servers like it
	Slack  = "slack"  // Slack, Mattermost, Discord with /slack, another Rocket.Chat
	Matrix = "matrix" // a room on another Matrix server
)

// Formats are the formats that a Webhook supports.
var Formats = []string{JSON, Ntfy, Slack, Matrix}

// Maximum length of a text that a service accepts, in bytes.
const (
	ntfyMost   = 4000 // beyond 4096 it becomes an attachment
	slackMost  = 12_000
	matrixMost = 30_000 // an event has at most 65536, escaped
)

// A Webhook sends messages as HTTP requests. Its file, which only its owner may read, has
// the URL in its first line and, if the service requires one, an access token in the
// second. For a Matrix room the URL is that of the server followed by the ID of the room,
// such as https://matrix.example.org/!abc:example.org.
type Webhook struct {
	Format string
	File   string
}

// Name names the way.
func (w Webhook) Name() string { return "webhook" }

// Send makes one request. Redirects are not followed: they would carry the message, and
// the token, elsewhere.
func (w Webhook) Send(ctx context.Context, m Message) error {
	address, token, err := secretLines(w.File)
	if err != nil {
		return err
	}
	to, err := url.Parse(address)
	if err != nil || to.Scheme != "https" && to.Scheme != "http" || to.Host == "" {
		return fmt.Errorf("the first line of %s is no URL", w.File) // the library's message would show it
	}
	req, err := w.request(ctx, to, m)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		if whole, ok := errors.AsType[*url.Error](err); ok {
			err = whole.Err // without the URL, which can be a secret
		}
		return fmt.Errorf("%s: %w", to.Host, err)
	}
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %w", to.Host, &statusError{res.StatusCode, res.Status})
	}
	return nil
}

// A statusError is a refusal by a webhook.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// advice says what to correct after an error of Send.
func (w Webhook) advice(err error) string {
	refused, answered := errors.AsType[*statusError](err)
	switch {
	case strings.Contains(err.Error(), w.File):
		return "" // the error itself says so
	case answered && (refused.code == http.StatusTooManyRequests || refused.code >= 500):
		return "the webhook refuses for a time: try again later"
	case answered:
		return "get the address of the webhook again, and write it to " + w.File
	}
	return "let this host connect to the webhook, or correct the address in " + w.File
}

func (w Webhook) request(ctx context.Context, to *url.URL, m Message) (*http.Request, error) {
	switch w.Format {
	case Ntfy:
		return ntfy(ctx, to, m)
	case Slack:
		return document(ctx, http.MethodPost, to, map[string]string{"text": cut("*"+m.Title+"*\n"+m.Text, slackMost)})
	case Matrix:
		server, room, ok := strings.Cut(strings.TrimPrefix(to.Path, "/"), "/")
		if !ok {
			server, room = "", server
		}
		if server != "" || !strings.HasPrefix(room, "!") {
			return nil, fmt.Errorf("the first line of %s should be such as https://matrix.example.org/!room:example.org", w.File)
		}
		at := to.JoinPath()
		at.Path = "/"
		at = at.JoinPath("_matrix/client/v3/rooms", url.PathEscape(room), "send/m.room.message", rand.Text())
		return document(ctx, http.MethodPut, at, map[string]string{"msgtype": "m.text", "body": cut(m.Title+"\n\n"+m.Text, matrixMost)})
	}
	return document(ctx, http.MethodPost, to, m)
}

func ntfy(ctx context.Context, to *url.URL, m Message) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(cut(m.Text, ntfyMost)))
	if err != nil {
		return nil, err
	}
	priority, tags := "default", "white_check_mark"
	if m.Severity != "ok" {
		tags = "warning"
	}
	if m.Severity == "fail" {
		priority = "high"
	}
	req.Header.Set("Title", mime.QEncoding.Encode("utf-8", cut(m.Title, 200)))
	req.Header.Set("Priority", priority)
	req.Header.Set("Tags", tags)
	return req, nil
}

func document(ctx context.Context, method string, to *url.URL, v any) (*http.Request, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(data))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}
