// Package attach checks an external homeserver and an external Rocket.Chat: whether they
// answer, know the bridge, and have the settings that it needs. It uses HTTP, as the
// bridge does, and changes nothing.
package attach

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"appliance/bridge/secret"
	"appliance/provision/answers"
)

// Servers are the external servers of the answers; nil for our own.
type Servers struct {
	Homeserver *Homeserver
	RocketChat *RocketChat
}

// Of returns the external servers of the answers. The homeserver does not yet have what a
// registration says. A token file that cannot be read leaves the token empty.
func Of(a answers.Answers) Servers {
	var s Servers
	client := clientFor(a)
	if !a.BundledHomeserver() {
		s.Homeserver = &Homeserver{URL: strings.TrimRight(a.HomeserverURL, "/"), Name: a.ServerName, BridgeURL: a.PublicBridgeURL(), client: client}
	}
	if !a.BundledRocketChat() {
		token, _ := os.ReadFile(a.RocketChatTokenFile)
		s.RocketChat = &RocketChat{URL: a.ChatURL(), UserID: a.RocketChatUserID, Token: secret.New(string(bytes.TrimSpace(token))), client: client}
	}
	return s
}

// clientFor returns a client that trusts the same authorities as the bridge.
func clientFor(a answers.Answers) *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if a.ACMECAFile != "" {
		data, _ := os.ReadFile(a.ACMECAFile) // without it the certificate is not trusted
		roots.AppendCertsFromPEM(data)
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
}

// An Error is why a server cannot be used, and what to do.
type Error struct{ Summary, Why, Fix string }

func (e *Error) Error() string { return e.Summary + ": " + e.Why }

// Hint says what to do.
func (e *Error) Hint() string { return e.Fix }

// ask makes a request and decodes the response, whatever the status.
func ask(ctx context.Context, c *http.Client, method, url string, header http.Header, out any) (int, error) {
	var body io.Reader
	if method != http.MethodGet {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return res.StatusCode, err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return res.StatusCode, fmt.Errorf("answered %s without JSON", res.Status)
	}
	return res.StatusCode, nil
}

func why(status int, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("it answered %d", status)
}
