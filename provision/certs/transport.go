package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Problem is the authority's reason for a refusal (RFC 7807).
type Problem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

// A transport sits between autocert and the authority. autocert always tries tls-alpn-01 first,
// which cannot work behind nginx and costs one of the few failures that authorities allow, so
// it is only shown http-01. It does not pass on what the authority says, so the last problem is
// recorded here. And it keeps ordering certificates that it cannot store, so no order passes
// while there is no room. It also asks about an authorization while it polls the order, which
// can deadlock Pebble for good: one request passes at a time.
type transport struct {
	ctx  context.Context // ends requests of autocert, which has no context of its own
	base http.RoundTripper
	now  func() time.Time
	room func() error  // nil when what is ordered can be stored
	turn chan struct{} // holds one value while a request is under way

	mu      sync.Mutex
	problem Problem
	retryAt time.Time
	orders  string // where the authority takes orders
	full    error  // why the last order did not pass
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.admit(req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	stop := context.AfterFunc(t.ctx, cancel)
	defer stop()
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	res, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	_ = res.Body.Close()
	if err != nil {
		return nil, err
	}
	body = t.inspect(res, body)
	res.Body = io.NopCloser(bytes.NewReader(body))
	res.ContentLength = int64(len(body))
	res.Header.Del("Content-Length")
	return res, nil
}

// admit returns an error for an order while there is no room to store its result.
func (t *transport) admit(req *http.Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.orders == "" || req.URL.String() != t.orders {
		return nil
	}
	t.full = t.room()
	return t.full
}

// inspect records problems and returns the body as autocert should see it.
func (t *transport) inspect(res *http.Response, body []byte) []byte {
	var fields map[string]json.RawMessage
	if !strings.Contains(res.Header.Get("Content-Type"), "json") || json.Unmarshal(body, &fields) != nil {
		return body
	}
	if res.StatusCode >= 400 {
		t.remember(body, res.Header.Get("Retry-After"))
	}
	t.remember(fields["error"], "")
	if orders, ok := fields["newOrder"]; ok { // this is the directory
		t.mu.Lock()
		_ = json.Unmarshal(orders, &t.orders) // anything but a string counts as none
		t.mu.Unlock()
	}
	var challenges []json.RawMessage
	if json.Unmarshal(fields["challenges"], &challenges) != nil {
		return body
	}
	fields["challenges"], _ = json.Marshal(t.onlyHTTP(challenges))
	if changed, err := json.Marshal(fields); err == nil {
		return changed
	}
	return body
}

func (t *transport) onlyHTTP(challenges []json.RawMessage) []json.RawMessage {
	kept := []json.RawMessage{}
	for _, raw := range challenges {
		var c struct {
			Type  string          `json:"type"`
			Error json.RawMessage `json:"error"`
		}
		if json.Unmarshal(raw, &c) == nil && c.Type == "http-01" {
			t.remember(c.Error, "")
			kept = append(kept, raw)
		}
	}
	return kept
}

func (t *transport) remember(raw json.RawMessage, retryAfter string) {
	var p Problem
	if json.Unmarshal(raw, &p) != nil || p.Detail == "" || strings.HasSuffix(p.Type, ":badNonce") {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problem = p
	if at, ok := parseRetryAfter(retryAfter, t.now()); ok {
		t.retryAt = at
	}
}

// last returns what was recorded.
func (t *transport) last() (p Problem, retryAt time.Time, full error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.problem, t.retryAt, t.full
}

func parseRetryAfter(v string, now time.Time) (time.Time, bool) {
	if seconds, err := strconv.Atoi(v); err == nil {
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	at, err := http.ParseTime(v)
	return at, err == nil
}

// backoff is how long to wait before a retry within one attempt. The attempt ends when the
// authority reports too many requests.
func backoff(n int, _ *http.Request, res *http.Response) time.Duration {
	if n > 8 || res != nil && res.StatusCode == http.StatusTooManyRequests {
		return -1
	}
	return time.Duration(min(n, 5)) * 200 * time.Millisecond
}
