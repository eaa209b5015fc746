package metrics

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxEndpoints bounds how many endpoints of one server are distinguished; the rest are
// "other".
const maxEndpoints = 120

// endpoints holds the endpoints seen so far, by server.
type endpoints struct {
	mu   sync.Mutex
	seen map[string]map[string]bool
}

// name returns the label of an endpoint: its own name, or "other" when there are too many.
func (e *endpoints) name(server, endpoint string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = map[string]map[string]bool{RocketChat: {}, Matrix: {}}
	}
	seen := e.seen[server]
	if !seen[endpoint] {
		if len(seen) >= maxEndpoints {
			return "other"
		}
		seen[endpoint] = true
	}
	return endpoint
}

// Transport counts the requests to a server, RocketChat or Matrix, that go through next.
func (m *Metrics) Transport(server string, next http.RoundTripper) http.RoundTripper {
	return counted{m, server, next}
}

type counted struct {
	m      *Metrics
	server string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	res, err := c.next.RoundTrip(r)
	c.m.durations.WithLabelValues(c.server).Observe(time.Since(start).Seconds())
	endpoint := c.m.endpoints.name(c.server, Endpoint(c.server, r.URL.Path))
	outcome := result(res, err)
	c.m.requests.WithLabelValues(c.server, endpoint, outcome).Inc()
	if to := uploads[c.server+" "+endpoint]; to != "" && outcome == "ok" && r.ContentLength > 0 {
		c.m.media.WithLabelValues(to).Add(float64(r.ContentLength))
	}
	return res, err
}

// uploads are the endpoints that accept files, with the direction of those files.
var uploads = map[string]string{Matrix + " upload": ToMatrix, RocketChat + " rooms.media": ToRocketChat}

func result(res *http.Response, err error) string {
	switch {
	case err != nil:
		return "unreachable"
	case res.StatusCode == http.StatusTooManyRequests:
		return "limited"
	case res.StatusCode >= 500:
		return "failed"
	case res.StatusCode >= 400:
		return "refused"
	}
	return "ok"
}

// Endpoint returns the endpoint of a path in a server's API, without the parts chosen by
// people and servers.
func Endpoint(server, path string) string {
	if server == Matrix {
		return matrixEndpoint(path)
	}
	rest, api := strings.CutPrefix(path, "/api/v1/")
	first, more, _ := strings.Cut(rest, "/")
	switch {
	case !api: // files and pictures, followed by their names
		first, _, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	case first == "method.call":
		method, _, _ := strings.Cut(more, "/")
		first += "/" + method
	}
	if first == "" || len(first) > 60 {
		return "other"
	}
	return first
}

// matrixWords are the fixed parts of Matrix paths.
var matrixWords = func() map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(`account account_data alias aliases appservice avatar_url ban capabilities config context createRoom delete
		directory displayname download event filter hierarchy invite join joined_members joined_rooms keys kick leave list login logout
		media members messages ping presence profile publicRooms query read_markers receipt redact register relations room rooms send
		state status sync thumbnail timestamp_to_event typing unban upgrade upload user v1 versions whoami forget knock`) {
		words[w] = true
	}
	return words
}()

// matrixEndpoint replaces each part of a path that is an identifier with "_".
func matrixEndpoint(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > 1 && parts[0] == "_matrix" {
		parts = parts[2:] // "client", "media"
	}
	if len(parts) > 1 && len(parts[0]) == 2 && parts[0][0] == 'v' || len(parts) > 0 && parts[0] == "r0" {
		parts = parts[1:]
	}
	for i, p := range parts {
		if !matrixWords[p] {
			parts[i] = "_"
		}
	}
	if len(parts) > 8 {
		parts = parts[:8]
	}
	return strings.Join(parts, "/")
}
