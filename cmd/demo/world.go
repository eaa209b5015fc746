package main

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appliance/compose"
)

// The names and addresses of the demo's world. ".test" is reserved for tests
// (RFC 6761), the network for tests of network devices (RFC 2544).
const (
	chatHost   = "chat.demo.test"
	serverName = "demo.test"
	remoteName = "elsewhere.test"
	remoteHost = "matrix.elsewhere.test"
	acmeHost   = "acme.demo.test"

	attached = "bridge.elsewhere.test" // beside the other server

	network   = "appliance-demo"
	subnet    = "198.18.47.0/24"
	gateway   = "198.18.47.1"
	front     = "198.18.47.10" // our nginx, as the other server sees it
	remoteIP  = "198.18.47.20"
	remoteHS  = "198.18.47.21"
	standIn   = "198.18.47.22" // for MongoDB, where the simulator is Rocket.Chat
	ownChat   = "198.18.47.30" // a Rocket.Chat that existed before
	ownBridge = "198.18.47.31"
	project   = "appliance-demo-elsewhere"
)

// A world is what is around the installation: an authority and another Matrix server.
type world struct{ *demo }

// elsewhere builds what is missing of the world around the installation.
func (d world) elsewhere(ctx context.Context) error {
	if err := d.hosts(true); err != nil {
		return err
	}
	if err := d.writeElsewhere(); err != nil {
		return err
	}
	services := []string{"remote-postgres", "pebble", "remote-nginx"}
	if _, simulated, err := d.images(); err != nil {
		return err
	} else if simulated {
		services = append(services, "standin-mongo")
	}
	if err := d.composeElsewhere(ctx, append([]string{"up", "-d", "--wait"}, services...)...); err != nil {
		return err
	}
	roots, err := d.trustRoots(ctx)
	if err != nil {
		return err
	}
	if err := d.trust(roots); err != nil {
		return err
	}
	if err := d.remoteCertificates(ctx); err != nil {
		return err
	}
	return d.composeElsewhere(ctx, "up", "-d", "--wait", "remote-homeserver")
}

// trust writes the roots that people, the installation and the other server trust.
func (d world) trust(roots []byte) error {
	return errors.Join(d.write("ca.pem", roots, 0o644), d.write("elsewhere/ca/demo-ca.pem", roots, 0o644))
}

// hosts puts the demo's names into /etc/hosts, or takes them out.
func (d world) hosts(in bool) error {
	const file, begin, end = "/etc/hosts", "# appliance demo: begin", "# appliance demo: end"
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := string(data)
	if i, j := strings.Index(text, begin), strings.Index(text, end); i >= 0 && j > i {
		text = text[:i] + strings.TrimPrefix(text[j+len(end):], "\n")
	}
	if in {
		text = strings.TrimRight(text, "\n") + "\n" + begin + "\n" +
			d.at + " " + chatHost + " " + serverName + " " + attached + "\n" +
			remoteIP + " " + remoteHost + " " + remoteName + "\n" +
			gateway + " " + acmeHost + "\n" + end + "\n"
	}
	if text == string(data) {
		return nil
	}
	// Written in place: where /etc/hosts is a mount it cannot be replaced.
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // everybody reads it
		return fmt.Errorf("the demo's names go into /etc/hosts: %w", err)
	}
	return nil
}

// writeElsewhere writes the files of the other server and of the authority. Generated
// files are kept.
func (d world) writeElsewhere() error {
	for _, dir := range []string{"elsewhere/ca", "elsewhere/certs", "elsewhere/webroot/.well-known/acme-challenge", "elsewhere/pebble", "elsewhere/nginx"} {
		if err := os.MkdirAll(d.path(dir), 0o755); err != nil { //nolint:gosec // containers read it
			return err
		}
	}
	if err := errors.Join(ownedDir(d.path("elsewhere/postgres"), 999), ownedDir(d.path("elsewhere/homeserver"), 10500), d.pebble(), d.selfSigned()); err != nil {
		return err
	}
	password, err := d.secret("elsewhere/password", 999)
	if err != nil {
		return err
	}
	shared, err := d.secret("elsewhere/registration_secret", 0)
	if err != nil {
		return err
	}
	if err := d.once("elsewhere/homeserver/matrix_key.pem", 10500, func() []byte {
		seed := make([]byte, 32)
		_, _ = rand.Read(seed) // never fails
		return pem.EncodeToMemory(&pem.Block{Type: "MATRIX PRIVATE KEY", Headers: map[string]string{"Key-ID": "ed25519:demo"}, Bytes: seed})
	}); err != nil {
		return err
	}
	replace := strings.NewReplacer("@NAME@", remoteName, "@HOST@", remoteHost, "@HOMESERVER@", remoteHS, "@PASSWORD@", password, "@SECRET@", shared)
	const dendrite = "elsewhere/homeserver/dendrite.yaml"
	config := replace.Replace(remoteDendrite)
	if _, err := os.Stat(d.path(ownRegistration)); err == nil { // see attach
		config += "app_service_api: {config_files: [/demo/rocketchat-registration.yaml]}\n"
	}
	if err := d.write(dendrite, []byte(config), 0o600); err != nil {
		return err
	}
	if err := os.Chown(d.path(dendrite), 10500, 10500); err != nil {
		return err
	}
	return d.write("elsewhere/nginx/nginx.conf", []byte(replace.Replace(remoteNginx)), 0o644)
}

const remoteDendrite = `version: 2
global:
  server_name: @NAME@
  private_key: /demo/matrix_key.pem
  database: {connection_string: "postgresql://dendrite:@PASSWORD@@remote-postgres/dendrite?sslmode=disable", max_open_conns: 30, max_idle_conns: 30, conn_max_lifetime: -1}
  cache: {max_size_estimated: 64mb, max_age: 1h}
  trusted_third_party_id_servers: []
  presence: {enable_inbound: false, enable_outbound: false}
  jetstream: {storage_path: /demo/jetstream}
client_api: {registration_disabled: true, guests_disabled: true, registration_shared_secret: "@SECRET@", rate_limiting: {enabled: false}}
federation_api: {send_max_retries: 16, key_perspectives: [], deny_networks: [], allow_networks: ["0.0.0.0/0", "::/0"]}
media_api: {base_path: /demo/media}
sync_api: {search: {enabled: false}}
logging: [{type: std, level: warn}]
`

const remoteNginx = `worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
	client_max_body_size 100m;
	server {
		listen 80 default_server;
		location /.well-known/acme-challenge/ { root /webroot; }
		location / { return 301 https://$host$request_uri; }
	}
	server {
		listen 443 ssl default_server;
		server_name @NAME@ @HOST@;
		ssl_certificate /certs/$ssl_server_name.pem;
		ssl_certificate_key /certs/$ssl_server_name.pem;
		location = /.well-known/matrix/server { default_type application/json; return 200 '{"m.server":"@HOST@:443"}'; }
		location = /.well-known/matrix/client { default_type application/json; add_header Access-Control-Allow-Origin *; return 200 '{"m.homeserver":{"base_url":"https://@HOST@"}}'; }
		location /_matrix/ {
			proxy_pass http://@HOMESERVER@:8008;
			proxy_http_version 1.1;
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_read_timeout 600s;
		}
	}
}
`

// pebble writes the authority's configuration and the certificate of its
// directory, which is self-signed.
func (d world) pebble() error {
	config := fmt.Sprintf(`{"pebble": {"listenAddress": "%[1]s:14000", "managementListenAddress": "%[1]s:15000",
		"certificate": "/demo/directory.pem", "privateKey": "/demo/directory.key", "httpPort": 80, "tlsPort": 443,
		"profiles": {"default": {"description": "for the demo", "validityPeriod": %[2]d}}}}`, gateway, int(d.life.Seconds()))
	if err := d.write("elsewhere/pebble/pebble.json", []byte(config), 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(d.path("elsewhere/pebble/directory.key")); err == nil {
		return nil
	}
	cert, key, err := newCertificate([]string{acmeHost}, []net.IP{net.ParseIP(gateway)})
	if err != nil {
		return err
	}
	return errors.Join(d.write("elsewhere/pebble/directory.pem", cert, 0o644), d.write("elsewhere/pebble/directory.key", key, 0o600))
}

// trustRoots returns what the demo's world trusts: the certificate of Pebble's
// directory and the root that Pebble made when it started.
func (d world) trustRoots(ctx context.Context) ([]byte, error) {
	own, err := os.ReadFile(d.path("elsewhere/pebble/directory.pem"))
	if err != nil {
		return nil, err
	}
	client := clientTrusting(own)
	for {
		root, err := fetch(ctx, client, "https://"+gateway+":15000/roots/0")
		if err == nil {
			return append(own, root...), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if logs, lerr := d.command(ctx, "docker", "inspect", "-f", "{{.State.Running}}", project+"-pebble-1"); lerr == nil && strings.TrimSpace(logs) != "true" {
			return nil, fmt.Errorf("the certificate authority does not run: %w", err)
		}
	}
}

// composeElsewhere runs docker compose for the world around the installation.
func (d world) composeElsewhere(ctx context.Context, args ...string) error {
	file, err := os.ReadFile(filepath.Join(filepath.Dir(d.dir), "compose/stage/elsewhere.yaml"))
	if err != nil {
		return err
	}
	env := fmt.Sprintf("%s\nDEMO_PROJECT=%s\nDEMO_NETWORK=%s\nDEMO_SUBNET=%s\nDEMO_GATEWAY=%s\nDEMO_REMOTE_ADDRESS=%s\nDEMO_REMOTE_HOMESERVER=%s\nDEMO_REMOTE_NAME=%s\nDEMO_REMOTE_HOST=%s\nDEMO_STANDIN_MONGO=%s\n",
		compose.Versions, project, network, subnet, gateway, remoteIP, remoteHS, remoteName, remoteHost, standIn)
	if err := errors.Join(d.write("elsewhere/compose.yaml", file, 0o644), d.write("elsewhere/.env", []byte(env), 0o644)); err != nil {
		return err
	}
	_, err = d.command(ctx, "docker", append([]string{"compose", "--project-directory", d.path("elsewhere"), "--progress", "quiet"}, args...)...)
	return err
}
