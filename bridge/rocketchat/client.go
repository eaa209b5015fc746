// Package rocketchat is a client for Rocket.Chat's REST API and defines the types
// in its REST and realtime responses. It implements the protocol and nothing else:
// it does not depend on Matrix, keeps no state besides its credentials, and never
// retries; that is up to the caller. Data flows from method arguments to the server
// and back. Rocket.Chat 8.x is the reference; 7.10 and later work as far as the
// endpoints exist there. The websocket client is in package ddp.
package rocketchat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"appliance/bridge/secret"
)

// maxAnswer bounds how much of a JSON response is read: an unpaginated history of a
// busy room is a few megabytes, and a server that never stops sending is cut off.
const maxAnswer = 64 << 20

// Client makes REST calls as one user. Methods are safe for concurrent use.
type Client struct {
	base     string
	userID   string
	token    secret.String
	from     string        // client address to report, "" for its own
	http     *http.Client  // for JSON responses: one minute in total
	stream   *http.Client  // for files: no limit while data is moving
	patience time.Duration // how long a transfer may stall
}

// New returns a client for the server at base ("http://rocketchat:3000"). An
// empty userID makes an anonymous client, good for Info and Login.
func New(base, userID string, token secret.String) *Client {
	transport := &http.Transport{
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 50 * time.Second,
	}
	return &Client{
		base: strings.TrimRight(base, "/"), userID: userID, token: token, patience: patience,
		http:   &http.Client{Transport: transport, CheckRedirect: stay, Timeout: time.Minute},
		stream: &http.Client{Transport: transport, CheckRedirect: follow},
	}
}

// Guarded returns a client that calls ask before each request. If ask returns an error,
// the request is not sent and fails with that error. Both clients share connections.
func (c *Client) Guarded(ask func(context.Context) error) *Client {
	other := *c
	json, files := *c.http, *c.stream
	json.Transport, files.Transport = guard{ask, json.Transport}, guard{ask, files.Transport}
	other.http, other.stream = &json, &files
	return &other
}

// Through returns a client whose requests pass through the transport that wrap returns,
// which forwards them to the transport it is given. Both clients share connections.
func (c *Client) Through(wrap func(http.RoundTripper) http.RoundTripper) *Client {
	other := *c
	json, files := *c.http, *c.stream
	json.Transport, files.Transport = wrap(json.Transport), wrap(files.Transport)
	other.http, other.stream = &json, &files
	return &other
}

// guard calls ask before each request to find out whether it may be sent.
type guard struct {
	ask  func(context.Context) error
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.ask(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	return g.next.RoundTrip(r)
}

// stay follows no redirects: a redirect would turn a POST into a GET.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// follow allows a file to come from another server, such as an object store, which
// must not see the caller's token.
func follow(req *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet {
		return http.ErrUseLastResponse
	}
	if len(via) > 3 {
		return errors.New("too many redirects")
	}
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		req.Header.Del("X-User-Id")
		req.Header.Del("X-Auth-Token")
	}
	return nil
}

// As returns a client for another user of the same server. Both clients share
// connections.
func (c *Client) As(userID string, token secret.String) *Client {
	other := *c
	other.userID, other.token = userID, token
	return &other
}

// From returns a client whose calls count as coming from another address;
// Rocket.Chat's rate limits are per address. The server trusts this only behind a
// proxy (HTTP_FORWARDED_COUNT). An empty address means the client's own.
func (c *Client) From(address string) *Client {
	other := *c
	other.from = address
	return &other
}

// UserID returns the user the client acts as, "" when anonymous.
func (c *Client) UserID() string { return c.userID }

// Token returns the client's token, for the websocket login.
func (c *Client) Token() secret.String { return c.token }

// Base returns the server's address, without a trailing slash.
func (c *Client) Base() string { return c.base }

// An Error is an error response from the server.
type Error struct {
	Method, Path string
	Status       int           // HTTP status
	Code         string        // errorType or the "[code]" at the end of the text, such as "error-room-not-found"; often empty
	Text         string        // the server's message
	RetryAfter   time.Duration // how long to wait when Status is 429, 0 when unknown
}

func (e *Error) Error() string {
	text := e.Text
	if text == "" {
		text = http.StatusText(e.Status)
	}
	return fmt.Sprintf("rocketchat: %s %s: %d %s", e.Method, e.Path, e.Status, text)
}

// Says reports whether err is an Error with one of the given codes, or with one of
// them as its text: some refusals carry no code.
func Says(err error, codes ...string) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if e.Code == c || e.Text == c {
			return true
		}
	}
	return false
}

// Status returns the HTTP status of an Error, or 0 when err is something else, such
// as a broken connection.
func Status(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// get calls a GET endpoint below /api/v1/ and decodes the response into out.
func (c *Client) get(ctx context.Context, endpoint string, query url.Values, out any) error {
	return c.call(ctx, http.MethodGet, endpoint, query, nil, out)
}

// post calls a POST endpoint below /api/v1/ with a JSON body.
func (c *Client) post(ctx context.Context, endpoint string, body, out any) error {
	if body == nil {
		body = struct{}{}
	}
	return c.call(ctx, http.MethodPost, endpoint, nil, body, out)
}

func (c *Client) call(ctx context.Context, method, endpoint string, query url.Values, body, out any) error {
	path := "/api/v1/" + endpoint
	u := c.base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("rocketchat: %s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, payload)
	if err != nil {
		return fmt.Errorf("rocketchat: %s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(c.http, req, path, out)
}

// sign adds the caller's credentials.
func (c *Client) sign(req *http.Request) {
	if c.from != "" {
		req.Header.Set("X-Forwarded-For", c.from)
		req.Header.Set("X-Real-IP", c.from)
	}
	if c.userID != "" {
		req.Header.Set("X-User-Id", c.userID)
		req.Header.Set("X-Auth-Token", c.token.Reveal())
	}
}

// do sends a prepared request with the client's credentials.
func (c *Client) do(with *http.Client, req *http.Request, path string, out any) error {
	c.sign(req)
	res, err := with.Do(req)
	if err != nil {
		return fmt.Errorf("rocketchat: %s %s: %w", req.Method, path, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("rocketchat: %s %s: %w", req.Method, path, err)
	}
	if res.StatusCode/100 != 2 {
		return refusal(req.Method, path, res, data)
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("rocketchat: %s %s: unexpected answer: more than %d bytes", req.Method, path, maxAnswer)
	}
	var envelope struct {
		Success *bool `json:"success"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		return fmt.Errorf("rocketchat: %s %s: unexpected answer: %w", req.Method, path, err)
	}
	if envelope.Success != nil && !*envelope.Success {
		return refusal(req.Method, path, res, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("rocketchat: %s %s: unexpected answer: %w", req.Method, path, err)
	}
	return nil
}

// withoutURL drops the URL that net/http puts in front of its errors: queries
// can carry names that do not belong in a log.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

var bracketCode = regexp.MustCompile(`\[([a-zA-Z0-9_-]+)\]$`)

// refusal parses the various error envelopes that Rocket.Chat uses.
func refusal(method, path string, res *http.Response, data []byte) error {
	var body struct {
		Error     json.RawMessage `json:"error"`
		ErrorType string          `json:"errorType"`
		Message   json.RawMessage `json:"message"`
	}
	e := &Error{Method: method, Path: path, Status: res.StatusCode}
	if json.Unmarshal(data, &body) == nil {
		e.Code, e.Text = body.ErrorType, text(body.Error)
		if e.Text == "" {
			e.Text = text(body.Message)
		}
		e.inner()
	}
	if m := bracketCode.FindStringSubmatch(e.Text); m != nil && e.Code == "" {
		e.Code = m[1]
	}
	if len(e.Text) > 300 {
		e.Text = strings.ToValidUTF8(e.Text[:300], "")
	}
	if res.StatusCode == http.StatusTooManyRequests {
		e.RetryAfter = retryAfter(res.Header, e.Text)
	}
	return e
}

// inner parses the error of a realtime API method, which method.call returns as text.
func (e *Error) inner() {
	var frame struct {
		Error *struct {
			Error   json.RawMessage `json:"error"` // a string or a number
			Reason  string          `json:"reason"`
			Message string          `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(e.Text), &frame) != nil || frame.Error == nil {
		return
	}
	e.Code, e.Text = strings.Trim(string(frame.Error.Error), `"`), frame.Error.Reason
	if e.Text == "" {
		e.Text = frame.Error.Message
	}
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

var mustWait = regexp.MustCompile(`must wait (\d+) seconds`)

// retryAfter reads Retry-After, X-RateLimit-Reset (milliseconds since 1970) or the
// error text.
func retryAfter(h http.Header, text string) time.Duration {
	if s, err := strconv.Atoi(strings.TrimSpace(h.Get("Retry-After"))); err == nil && s > 0 {
		return min(time.Duration(s)*time.Second, time.Hour)
	}
	if ms, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		return max(0, min(time.Until(time.UnixMilli(ms)), time.Hour))
	}
	if m := mustWait.FindStringSubmatch(text); m != nil {
		s, _ := strconv.Atoi(m[1])
		return min(time.Duration(s)*time.Second, time.Hour)
	}
	return 0
}
