package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// An inspection looks at the installation from outside, as strangers and attackers do.
type inspection struct{ *demo }

// check looks at the installation from outside: who signed what it shows, which
// doors are open and which are closed.
func (d inspection) check(ctx context.Context) error {
	roots, err := os.ReadFile(d.path("ca.pem"))
	if err != nil {
		return err
	}
	client := clientTrusting(roots)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var errs []error
	for _, name := range []string{chatHost, serverName, remoteHost, remoteName} {
		errs = append(errs, d.checkCertificate(ctx, roots, name))
	}
	for _, door := range doors {
		errs = append(errs, d.checkDoor(ctx, client, door))
	}
	for _, port := range []string{"29328", "8008", "3000", "5432"} {
		errs = append(errs, d.checkClosedPort(ctx, port))
	}
	errs = append(errs, d.checkTLS(ctx), d.checkContainers(ctx), d.attack(ctx))
	return errors.Join(append(errs, d.checkBundle(ctx), d.checkDocuments(ctx))...)
}

// checkCertificate connects as a stranger who trusts only the authority.
func (d inspection) checkCertificate(ctx context.Context, roots []byte, name string) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(name, "443"))
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	defer func() { _ = conn.Close() }()
	tc, _ := conn.(*tls.Conn)
	leaf := tc.ConnectionState().PeerCertificates[0]
	if !strings.Contains(leaf.Issuer.CommonName, "Pebble") {
		return fmt.Errorf("certificate of %s: issued by %q, not by the demo's authority", name, leaf.Issuer.CommonName)
	}
	d.say("ok    certificate of %-22s issued by %s, until %s", name, leaf.Issuer.CommonName, leaf.NotAfter.Format(time.DateOnly))
	return nil
}

// A door is a path and what a stranger should get there.
type door struct {
	method, url string
	status      []int
	contains    string
}

var doors = []door{
	{http.MethodGet, chatURL + "/api/info", []int{200}, `"version"`},
	{http.MethodGet, "https://" + serverName + "/.well-known/matrix/server", []int{200}, chatHost + ":443"},
	{http.MethodGet, "https://" + serverName + "/.well-known/matrix/client", []int{200}, "m.homeserver"},
	{http.MethodGet, chatURL + "/_matrix/federation/v1/version", []int{200}, `"server"`},
	{http.MethodGet, chatURL + "/_matrix/key/v2/server", []int{200}, serverName},
	{http.MethodGet, "http://" + chatHost + "/", []int{301, 302, 308}, ""},
	{http.MethodPost, chatURL + "/_matrix/client/v3/login", []int{403, 404}, ""},
	{http.MethodGet, chatURL + "/_matrix/client/versions", []int{403, 404}, ""},
	{http.MethodGet, chatURL + "/_synapse/admin/v1/register", []int{403, 404}, ""},
	{http.MethodGet, chatURL + "/_dendrite/monitor/health", []int{403, 404}, ""},
	{http.MethodGet, chatURL + "/metrics", []int{403, 404}, ""},
	{http.MethodGet, chatURL + "/_matrix/media/v3/download/" + serverName + "/x", []int{404}, ""},
	{http.MethodGet, chatURL + "/_matrix/media/v3/download/" + remoteName + "/x", []int{404}, ""},
	{http.MethodGet, chatURL + "/_matrix/media/v3/thumbnail/" + serverName + "/x?width=96&height=96", []int{404}, ""},
	{http.MethodGet, chatURL + "/_matrix/media/r0/download/" + serverName + "/x", []int{404}, ""},
	{http.MethodGet, chatURL + "/_matrix/media/v1/download/" + serverName + "/x", []int{404}, ""},
	{http.MethodGet, chatURL + "/_matrix/federation/v1/media/download/x", []int{400, 401, 403}, ""},
	{http.MethodPut, chatURL + "/_matrix/app/v1/transactions/1", []int{403, 404}, ""},
	{http.MethodGet, chatURL + "/_matrix//client/versions", []int{400, 403, 404}, ""},
	{http.MethodGet, chatURL + "/_matrix/federation/../client/versions", []int{400, 403, 404}, ""},
	{http.MethodPost, chatURL + "/api/v1/commands.run", []int{400, 401}, ""},
}

func (d inspection) checkDoor(ctx context.Context, client *http.Client, door door) error {
	req, err := http.NewRequestWithContext(ctx, door.method, door.url, strings.NewReader(`{"command":"bridge","params":"help","roomId":"x"}`))
	if err != nil {
		return err
	}
	if door.method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	} else {
		req.Body, req.ContentLength = nil, 0
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", door.method, door.url, err)
	}
	defer func() { _ = res.Body.Close() }()
	body := make([]byte, 4096)
	n, _ := res.Body.Read(body)
	for _, want := range door.status {
		if res.StatusCode == want && strings.Contains(string(body[:n]), door.contains) {
			d.say("ok    %-5s %-64s %d", door.method, door.url, res.StatusCode)
			return nil
		}
	}
	return fmt.Errorf("%s %s: status %d, want %v with %q: %.200s", door.method, door.url, res.StatusCode, door.status, door.contains, body[:n])
}

// checkClosedPort makes sure that nothing but the front door is published.
func (d inspection) checkClosedPort(ctx context.Context, port string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(chatHost, port))
	if err != nil {
		d.say("ok    port %s is closed", port)
		return nil
	}
	_ = conn.Close()
	return fmt.Errorf("port %s is open to strangers", port)
}

// checkContainers makes sure that what runs has no more rights than it needs.
func (d inspection) checkContainers(ctx context.Context) error {
	ids, err := d.containers(ctx)
	if err != nil {
		return err
	}
	out, err := d.command(ctx, "docker", append([]string{"inspect"}, ids...)...)
	if err != nil {
		return err
	}
	var list []struct {
		Name   string
		Config struct {
			User   string
			Env    []string
			Labels map[string]string
		}
		HostConfig struct {
			Privileged, ReadonlyRootfs bool
			Memory, PidsLimit          int64
			CapAdd, CapDrop            []string
			SecurityOpt                []string
			NetworkMode, PidMode       string
		}
		Mounts []struct{ Source string }
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return err
	}
	var errs []error
	for _, c := range list {
		service, h := c.Config.Labels["com.docker.compose.service"], c.HostConfig
		writes := h.ReadonlyRootfs || service == "rocketchat" // its image writes beside itself
		if c.Config.User == "" || strings.HasPrefix(c.Config.User, "0") || strings.HasPrefix(c.Config.User, "root") || !writes || h.Privileged || h.Memory == 0 || h.PidsLimit <= 0 ||
			len(h.CapAdd) > 0 || !slices.Contains(h.CapDrop, "ALL") || !slices.Contains(h.SecurityOpt, "no-new-privileges:true") || h.NetworkMode == "host" || h.PidMode != "" {
			errs = append(errs, fmt.Errorf("the container %s has more rights than it needs: user %q, %+v", c.Name, c.Config.User, h))
		}
		if slices.ContainsFunc(c.Config.Env, func(e string) bool { return strings.HasPrefix(e, "ADMIN_PASS=") }) {
			errs = append(errs, fmt.Errorf("the container %s has the administrator's password in its environment", c.Name))
		}
		for _, m := range c.Mounts {
			if strings.HasSuffix(m.Source, "docker.sock") {
				errs = append(errs, fmt.Errorf("the container %s has Docker's socket", c.Name))
			}
		}
	}
	if len(errs) == 0 {
		d.say("ok    %d containers: no root, no capabilities, limits, nothing writable but their data", len(list))
	}
	return errors.Join(errs...)
}
