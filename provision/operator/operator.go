// Package operator speaks to the bridge as its operator, over the HTTP API that the
// bridge has inside.
package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/secret"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// A DeadLetter is something that the bridge has given up, without what it says.
type DeadLetter struct {
	ID       string    `json:"id"`
	Lane     string    `json:"lane"` // "rc:" or "mx:" and the room it came from
	Kind     string    `json:"kind"`
	Accepted time.Time `json:"accepted"`
	Buried   time.Time `json:"buried"`
	Attempts int       `json:"attempts"`
	Cause    string    `json:"cause"`
}

// DeadLetters lists what the bridge has given up, oldest first.
func DeadLetters(ctx context.Context, s *site.Site) ([]DeadLetter, error) {
	var list []DeadLetter
	return list, ask(ctx, s, http.MethodGet, "/buried", nil, &list)
}

// A Retried says what became of a request to try again.
type Retried struct {
	Retried []string `json:"retried"`
	Unknown []string `json:"unknown"` // not given up, or not there any more
}

// Retry makes the bridge try again what it has given up: some items, or all when
// none is named.
func Retry(ctx context.Context, s *site.Site, ids ...string) (Retried, error) {
	var out Retried
	if ids == nil {
		ids = []string{}
	}
	return out, ask(ctx, s, http.MethodPost, "/buried/retry", map[string][]string{"ids": ids}, &out)
}

// Token is what the bridge wants to see of its operator.
func Token(s *site.Site) (secret.String, error) {
	c, err := config.Load(s.Path(plan.BridgeFile))
	if err != nil {
		return secret.String{}, err
	}
	// As the bridge names it, inside its container.
	file := "secrets/bridge/" + path.Base(c.RocketChat.TokenFile)
	if strings.HasPrefix(c.RocketChat.TokenFile, "/etc/appliance/") {
		file = "config/bridge/" + path.Base(c.RocketChat.TokenFile)
	}
	data, err := os.ReadFile(s.Path(file))
	return config.OperatorToken(secret.New(strings.TrimSpace(string(data)))), err
}

// bridgePort is where the bridge listens inside.
const bridgePort = "29328"

// ask calls the bridge on its inside address, which the host reaches and
// nobody else outside.
func ask(ctx context.Context, s *site.Site, method, path string, in, out any) error {
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return err
	}
	address := services["bridge"].Address
	if address == "" {
		return errors.New("the bridge is not running (run: appliance up)")
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(address, bridgePort)+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	token, err := Token(s)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	res, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return fmt.Errorf("the bridge does not answer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the bridge answered %s: %s", res.Status, bytes.TrimSpace(data))
	}
	return json.Unmarshal(data, out)
}
