package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/finding"
	"appliance/provision/homeserver"
)

func joined(parts []string) string { return strings.Join(parts, "; ") }

// get sends a request to the front door.
func get(ctx context.Context, t Target, host, path string, header ...string) (int, []byte, error) {
	scheme := "https://"
	if t.Answers.TLS == answers.NoTLS {
		scheme = "http://"
	}
	return fetch(ctx, clientFor(t), scheme+host+path, header...)
}

func fetch(ctx context.Context, c *http.Client, url string, header ...string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, body, err
}

func (t Target) rocketchat(ctx context.Context) finding.Finding {
	status, body, err := get(ctx, t, t.Answers.Domain, "/api/info")
	var info struct {
		Version string `json:"version"`
	}
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &info) != nil {
		return finding.Failure("Rocket.Chat does not answer at "+t.Answers.SiteURL(), outcome(status, err), "see: appliance logs rocketchat").Without("nginx", "rocketchat", "mongo")
	}
	return finding.Good("Rocket.Chat %s answers at %s", info.Version, t.Answers.SiteURL())
}

func (t Target) wellKnown(ctx context.Context) finding.Finding {
	name := t.Answers.ServerName
	if name != t.Answers.Domain && t.Answers.Delegation != answers.DelegationHere {
		return delegation(ctx, t)
	}
	status, body, err := get(ctx, t, name, "/.well-known/matrix/server")
	var answer struct {
		Server string `json:"m.server"`
	}
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return finding.Failure("other servers cannot find "+name, "/.well-known/matrix/server: "+outcome(status, err), "run: appliance up").Without("nginx")
	}
	want := t.Answers.FederationAddress()
	if answer.Server != want {
		return finding.Failure(name+" points to "+answer.Server, "it should point to "+want, "run: appliance up")
	}
	return finding.Good("%s points to %s", name, answer.Server)
}

func (t Target) federation(ctx context.Context) finding.Finding {
	status, body, err := get(ctx, t, t.Answers.Domain, "/_matrix/federation/v1/version")
	var answer struct {
		Server struct{ Name, Version string } `json:"server"`
	}
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return finding.Failure("the homeserver does not answer other servers", outcome(status, err), "see: appliance logs homeserver").Without("nginx", "homeserver", "postgres")
	}
	return finding.Good("%s %s answers other servers", answer.Server.Name, answer.Server.Version)
}

// closedDoors makes sure that internal endpoints are closed to the internet.
func (t Target) closedDoors(ctx context.Context) finding.Finding {
	var open []string
	for _, path := range append(homeserver.AdminPaths(), "/_matrix/client/versions", "/metrics") {
		status, _, err := get(ctx, t, t.Answers.Domain, path)
		if err != nil {
			return finding.Failure("the front door does not answer", err.Error(), "see: appliance logs nginx").Without("nginx")
		}
		if status < 400 {
			open = append(open, path)
		}
	}
	if len(open) > 0 {
		return finding.Failure(fmt.Sprintf("%d internal paths are open", len(open)), joined(open), "run: appliance up --overwrite")
	}
	return finding.Good("administration and client API are closed to the internet")
}

// bridge asks the bridge itself whether both sides are connected.
func (t Target) bridge(ctx context.Context) finding.Finding {
	services, err := t.Services(ctx)
	if err != nil || services["bridge"].Address == "" {
		return finding.Failure("the bridge is not running", "its container: "+cmp.Or(services["bridge"].Status, "none"), "run: appliance up").Without("bridge")
	}
	c := &http.Client{Timeout: limit}
	status, body, err := fetch(ctx, c, "http://"+net.JoinHostPort(services["bridge"].Address, "29328")+"/ready")
	if err != nil || status != http.StatusOK {
		why := outcome(status, err)
		if text := strings.TrimSpace(string(body)); text != "" && err == nil {
			why = text[:min(len(text), 300)]
		}
		return finding.Failure("the bridge is not connected to both sides", why, "see: appliance logs bridge").Without("bridge", "rocketchat", "homeserver", "mongo", "postgres")
	}
	return finding.Good("the bridge is connected to both sides")
}

func outcome(status int, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("answered %d", status)
}
