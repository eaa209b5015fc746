// Package operator talks to the bridge as its operator, over the HTTP API that the bridge
// serves internally.
package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/config/configfile"
	"appliance/bridge/secret"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// Federation reads from bridge.yaml whether messages are bridged: "on", "off", or
// "unknown" if the file cannot be read.
func Federation(s *site.Site) string {
	c, err := config.Load(s.Path(plan.BridgeFile))
	switch {
	case err != nil:
		return "unknown"
	case c.Live.Enabled:
		return "on"
	}
	return "off"
}

// A Lane is one room in one direction, with its backlog.
type Lane struct {
	Lane      string    `json:"lane"` // "rc:" or "mx:" and the room it comes from
	Waiting   int64     `json:"waiting"`
	Oldest    time.Time `json:"oldest"`               // acceptance of the oldest item
	Due       time.Time `json:"due,omitzero"`         // of the next attempt, if postponed
	First     string    `json:"first"`                // ID of the oldest item
	Kind      string    `json:"kind"`                 // of the oldest item
	Attempts  int       `json:"attempts"`             // for the oldest item
	LastError string    `json:"last_error,omitempty"` // of the last attempt
}

// A Queue is the backlog of the bridge.
type Queue struct {
	Waiting     int64  `json:"waiting"`
	DeadLetters int64  `json:"dead_letters"`
	Lanes       []Lane `json:"lanes"` // the one with the oldest item first
}

// A DeadLetter is an item that the bridge gave up on, without its content.
type DeadLetter struct {
	ID       string    `json:"id"`
	Lane     string    `json:"lane"`
	Kind     string    `json:"kind"`
	Accepted time.Time `json:"accepted"`
	GaveUp   time.Time `json:"gave_up"`
	Attempts int       `json:"attempts"`
	Cause    string    `json:"cause"`
}

// A BuriedLetter is a DeadLetter as earlier releases printed it.
type BuriedLetter struct {
	ID       string    `json:"id"`
	Lane     string    `json:"lane"`
	Kind     string    `json:"kind"`
	Accepted time.Time `json:"accepted"`
	Buried   time.Time `json:"buried"`
	Attempts int       `json:"attempts"`
	Cause    string    `json:"cause"`
}

// Waiting lists the lanes that have a backlog.
func Waiting(ctx context.Context, s *site.Site) (Queue, error) {
	var q Queue
	return q, ask(ctx, s, http.MethodGet, "/queue", nil, &q)
}

// DeadLetters lists the dead letters, oldest first.
func DeadLetters(ctx context.Context, s *site.Site) ([]DeadLetter, error) {
	list := []DeadLetter{}
	return list, ask(ctx, s, http.MethodGet, "/queue/dead", nil, &list)
}

// Buried is DeadLetters for scripts written for an earlier release.
func Buried(ctx context.Context, s *site.Site) ([]BuriedLetter, error) {
	var list []BuriedLetter
	return list, ask(ctx, s, http.MethodGet, "/buried", nil, &list)
}

// A Choice selects dead letters: those with these IDs, or all.
type Choice struct {
	IDs []string `json:"ids"`
	All bool     `json:"all"`
}

// Retried lists the dead letters that were queued again.
type Retried struct {
	Retried []string `json:"retried"`
	Unknown []string `json:"unknown"` // not dead letters, or no longer
}

// Retry queues dead letters again, at the end of their lanes.
func Retry(ctx context.Context, s *site.Site, c Choice) (Retried, error) {
	var out Retried
	return out, ask(ctx, s, http.MethodPost, "/queue/dead/retry", c, &out)
}

// Dropped lists the dead letters that were removed.
type Dropped struct {
	Dropped []string `json:"dropped"`
	Unknown []string `json:"unknown"` // not dead letters, or no longer
}

// Drop removes dead letters for good.
func Drop(ctx context.Context, s *site.Site, c Choice) (Dropped, error) {
	var out Dropped
	return out, ask(ctx, s, http.MethodPost, "/queue/dead/drop", c, &out)
}

// Reloaded is the result of a reload of bridge.yaml.
type Reloaded struct {
	Error   string    `json:"error,omitempty"` // why the file is not in force; "" when it is
	Changed []string  `json:"changed"`         // the keys that the last reload changed
	At      time.Time `json:"at,omitzero"`     // when that was; zero if not since the bridge was started
}

// Reload makes the bridge read bridge.yaml again and returns the result.
func Reload(ctx context.Context, s *site.Site) (Reloaded, error) {
	out := Reloaded{Changed: []string{}}
	return out, ask(ctx, s, http.MethodPost, "/reload", nil, &out)
}

// Token is the token that the bridge requires of its operator.
func Token(s *site.Site) (secret.String, error) {
	c, err := config.Load(s.Path(plan.BridgeFile))
	if err != nil {
		return secret.String{}, err
	}
	// TokenFile is a path inside the bridge's container.
	file := "secrets/bridge/" + path.Base(c.RocketChat.TokenFile)
	if strings.HasPrefix(c.RocketChat.TokenFile, "/etc/appliance/") {
		file = "config/bridge/" + path.Base(c.RocketChat.TokenFile)
	}
	data, err := configfile.Read(s.Path(file))
	return config.OperatorToken(secret.New(strings.TrimSpace(string(data)))), err
}

// A BridgeError says that a request to the bridge failed.
type BridgeError struct{ Reason, Advice string }

func (e *BridgeError) Error() string { return e.Reason }

// Hint says what to do.
func (e *BridgeError) Hint() string { return e.Advice }

// port is the port on which the bridge listens internally.
const port = "29328"

// ask sends a request to the bridge at its internal address, which only this host can reach.
func ask(ctx context.Context, s *site.Site, method, path string, in, out any) error {
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return err
	}
	address := services["bridge"].Address
	if address == "" {
		return &BridgeError{"the bridge is not running", "start it with: appliance up"}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(address, port)+path, bytes.NewReader(body))
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
		return &BridgeError{"the bridge does not answer: " + err.Error(), "see why with: appliance doctor"}
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusNotFound:
		return &BridgeError{"the bridge is of an earlier release than this program", "bring it to this one with: appliance upgrade"}
	case res.StatusCode != http.StatusOK:
		return &BridgeError{fmt.Sprintf("the bridge answered %s: %s", res.Status, bytes.TrimSpace(data)), "see why with: appliance logs bridge"}
	}
	return json.Unmarshal(data, out)
}
